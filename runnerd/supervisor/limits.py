"""The scheduler's limits, from the daemon's settings."""

from __future__ import annotations

import math

from runnerd.config import Settings
from runnerd.scheduler import Limits


def scheduler_limits(settings: Settings) -> Limits:
    """Return the limits that the scheduler holds to."""
    return Limits(
        capacity=settings.max_runners,
        queue_length=settings.queue_length,
        queue_timeout=settings.queue_timeout,
        keep_alive=settings.idle_timeout,
        quantum=settings.turn,
        overcommit=settings.overcommit,
        patience=math.inf if settings.jobs.idle_only else settings.jobs.patience,
    )
