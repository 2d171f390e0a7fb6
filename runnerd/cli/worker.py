"""`runnerd worker`: this host's hands for a fleet's work."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal

from runnerd.cli.client import default_address
from runnerd.errors import StartupError


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
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # says at length what we say in a line
    asyncio.run(_work(options))
    return 0


async def _work(options: argparse.Namespace) -> None:
    from runnerd.jobs.fleet.daemon_client import DaemonClient
    from runnerd.jobs.fleet.placement import Placement
    from runnerd.jobs.fleet.protollm import environment
    from runnerd.jobs.fleet.result_store import ResultStore
    from runnerd.jobs.fleet.worker import QueueModel, Worker

    fleet = environment.read(os.environ)
    queues = [QueueModel(*each) for each in options.queue] or [
        QueueModel(fleet.queue, options.model)
    ]
    daemon = DaemonClient(options.host or default_address(), os.environ.get("RUNNERD_KEY", ""))
    store = ResultStore(fleet.redis_url, fleet.keys, kept=options.keep_results)
    work = Worker(
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
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, work.stop)
    try:
        await work.run()
    finally:
        await store.close()
        await daemon.close()
