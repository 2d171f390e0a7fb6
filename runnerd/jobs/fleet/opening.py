"""The fleet's queue for a daemon, which only hands jobs in and tells of them."""

from __future__ import annotations

import os

from runnerd.errors import StartupError
from runnerd.jobs.fleet.protollm import environment
from runnerd.jobs.queue import OpenedQueue
from runnerd.jobs.sqlite.state import QueueRules


def fleet_queue(rules: QueueRules) -> OpenedQueue:
    """A queue on the servers that the environment names.  Raises errors.StartupError."""
    try:
        from runnerd.jobs.fleet.queue import FleetQueue
    except ImportError as error:
        raise StartupError(f"jobs.fleet needs `pip install 'runnerd[fleet]'`: {error}") from error
    found = environment.read(os.environ)
    return FleetQueue(found.amqp_url, found.redis_url, rules)
