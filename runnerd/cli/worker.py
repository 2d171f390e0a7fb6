"""`runnerd worker`: this host's hands for a fleet's work."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import math
import os
import signal
from typing import TYPE_CHECKING

from runnerd.cli.client import Client
from runnerd.errors import StartupError

if TYPE_CHECKING:
    from runnerd.jobs.fleet.daemon_client import DaemonClient
    from runnerd.jobs.fleet.host_jobs import HostJobs
    from runnerd.jobs.fleet.protollm.environment import FleetEnvironment
    from runnerd.jobs.fleet.queue import FleetQueue
    from runnerd.jobs.fleet.worker import Worker


def worker(options: argparse.Namespace) -> int:
    """Work until told to stop."""
    try:
        import aio_pika  # noqa: F401
        import redis  # noqa: F401
    except ImportError as error:
        raise StartupError(
            f"{error.name} is missing: a worker needs `pip install 'runnerd[fleet]'`"
        ) from error
    logging.basicConfig(
        level=os.environ.get("RUNNERD_LOG_LEVEL", "info").upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    asyncio.run(_work(options))
    return 0


async def _work(options: argparse.Namespace) -> None:
    from runnerd.jobs.fleet.daemon_client import DaemonClient
    from runnerd.jobs.fleet.protollm import environment

    fleet = environment.read(os.environ)
    async with contextlib.AsyncExitStack() as stack:
        usual = Client(options.host)
        key = os.environ.get("RUNNERD_KEY", "")
        daemon = DaemonClient(usual.address, key, found=usual.found)
        stack.push_async_callback(daemon.close)
        queue = await _queue(stack, fleet)
        prompts = await _prompts(stack, options, fleet, daemon, queue)
        jobs = await _jobs(stack, options, queue, daemon) if options.jobs else None
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, prompts.stop)
        await prompts.run()
        if jobs is not None:
            await jobs.drain(0.0 if options.once else options.drain_timeout)


async def _queue(stack: contextlib.AsyncExitStack, fleet: FleetEnvironment) -> FleetQueue:
    """The fleet's queue.  Whoever has it open looks after the site: also where this worker takes no
    jobs a Redis that was restarted gets from the journal what it lacks.  For how long ended jobs
    are kept only the front daemons know.
    """
    from runnerd.jobs.fleet.queue import FleetQueue
    from runnerd.jobs.sqlite.state import QueueRules

    queue = FleetQueue(fleet.amqp_url, fleet.redis_url, QueueRules(kept=lambda: math.inf))
    await queue.open()
    stack.push_async_callback(queue.close)
    return queue


async def _prompts(
    stack: contextlib.AsyncExitStack,
    options: argparse.Namespace,
    fleet: FleetEnvironment,
    daemon: DaemonClient,
    queue: FleetQueue,
) -> Worker:
    """What takes ProtoLLM's tasks."""
    from runnerd.jobs.fleet.placement import Placement
    from runnerd.jobs.fleet.result_store import ResultStore
    from runnerd.jobs.fleet.worker import QueueModel, Worker

    store = ResultStore(queue.records, fleet.keys, kept=options.keep_results)
    stack.push_async_callback(store.close)
    queues = [QueueModel(*each) for each in options.queue]
    if not queues and not options.jobs:
        queues = [QueueModel(fleet.queue, options.model)]
    return Worker(
        fleet.amqp_url,
        daemon,
        store,
        queues,
        placement=Placement(
            quantum=options.quantum, kept_free=options.keep_free, most=options.most
        ),
        may_pull=options.pull,
        once=options.once,
        drain_timeout=options.drain_timeout,
    )


async def _jobs(
    stack: contextlib.AsyncExitStack,
    options: argparse.Namespace,
    queue: FleetQueue,
    daemon: DaemonClient,
) -> HostJobs:
    """What takes the fleet's jobs."""
    from runnerd.jobs.fleet.host_jobs import HostJobs

    jobs = HostJobs(
        queue,
        daemon,
        kept_free=options.keep_free,
        most=options.most,
        quantum=options.quantum,
    )
    jobs.open()
    stack.push_async_callback(jobs.close)
    return jobs
