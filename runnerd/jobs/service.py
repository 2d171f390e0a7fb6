"""The daemon's own queue and worker, built from its database and settings."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

from runnerd import tasks
from runnerd.access import Principal
from runnerd.config import Settings
from runnerd.database import Database
from runnerd.errors import RunnerdError
from runnerd.jobs.attempt import Inference
from runnerd.jobs.batches.batches import Batches, ModelAsked
from runnerd.jobs.batches.files import FileStore
from runnerd.jobs.changes import Followers
from runnerd.jobs.clock import SteadyClock
from runnerd.jobs.fleet.opening import fleet_queue
from runnerd.jobs.queue import OpenedQueue, Queue
from runnerd.jobs.retries import RetryPolicy
from runnerd.jobs.sqlite.queue import SqliteQueue
from runnerd.jobs.sqlite.state import QueueRules
from runnerd.jobs.worker import Gate, Worker

log = logging.getLogger(__name__)

_SWEEP = 600.0  # seconds


class Jobs:
    """Owns queue and worker, from `open` to `close`.

    `clock` says the Unix time by which deadlines go: several hosts share theirs.
    """

    def __init__(
        self,
        database: Database,
        inference: Inference,
        settings: Settings,
        folder: Path,
        model_asked: ModelAsked,
        gate: Gate,
        most_priority: Callable[[Principal], int],
    ) -> None:
        """`folder` is the daemon's state; `model_asked` is the one spelling of a model, and raises
        where there is none for a principal; `gate` is where jobs wait; `most_priority` is how much
        of a head start a principal may have.
        """
        rules = QueueRules(
            lambda: settings.jobs.open,
            lambda: settings.jobs.kept,
            lambda: RetryPolicy(settings.jobs.tries),
            lambda: settings.jobs.bytes,
            most_priority,
            lambda: settings.jobs.result_bytes,
        )
        self._sweeping: asyncio.Task[None] | None = None
        fleet = settings.jobs.fleet
        self.clock: Callable[[], float] = time.time if fleet else SteadyClock()
        self._opened: OpenedQueue = (
            fleet_queue(rules) if fleet else SqliteQueue(database, rules, clock=self.clock)
        )
        self.queue: Queue = self._opened
        self.followers = Followers()
        self.worker = Worker(
            self.queue,
            inference,
            at_once=lambda: 0 if fleet else settings.jobs.at_once,
            gate=gate,
        )
        self._settings = settings
        self.files = FileStore(
            database, folder / "files", most=lambda: settings.jobs.files, clock=self.clock
        )
        self.batches = Batches(
            database,
            self.queue,
            self.files,
            model_asked=model_asked,
            clock=self.clock,
            most=lambda: settings.jobs.batches,
        )

    async def open(self) -> None:
        """Begin to look after the queue, and to work."""
        await self._opened.open()
        self.worker.open()
        try:
            await self.files.remove_leftovers()
            await self.batches.open()
        except RunnerdError as error:  # the database; batches go on when a daemon can read it
            log.warning("batches wait: %s", error.message)
        self._sweeping = tasks.spawn(self._sweep(), name="old files")

    async def close(self) -> None:
        """Give back what has not ended.  Idempotent."""
        sweeping, self._sweeping = self._sweeping, None
        if sweeping is not None:
            await tasks.cancel_and_wait(sweeping)
        await self.batches.close()
        await self.worker.close()
        await self._opened.close()

    async def _sweep(self) -> None:
        """Remove, from time to time, what was kept long enough."""
        while True:
            await asyncio.sleep(_SWEEP)
            before = self.clock() - self._settings.jobs.kept
            try:
                await self.files.sweep(before)
                await self.batches.sweep(before)
            except RunnerdError as error:
                log.warning("expired files and batches could not be removed: %s", error.message)
