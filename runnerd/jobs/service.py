"""The daemon's own queue and worker, built from its database and settings."""

from __future__ import annotations

from runnerd.config import Settings
from runnerd.database import Database
from runnerd.jobs.attempt import Inference
from runnerd.jobs.queue import Queue
from runnerd.jobs.retries import RetryPolicy
from runnerd.jobs.sqlite.queue import SqliteQueue
from runnerd.jobs.sqlite.state import QueueRules
from runnerd.jobs.worker import Worker


class Jobs:
    """Owns queue and worker, from `open` to `close`."""

    def __init__(self, database: Database, inference: Inference, settings: Settings) -> None:
        rules = QueueRules(
            lambda: settings.jobs.open,
            lambda: settings.jobs.kept,
            lambda: RetryPolicy(settings.jobs.tries),
        )
        self._sqlite = SqliteQueue(database, rules)
        self.queue: Queue = self._sqlite
        self.worker = Worker(self.queue, inference, at_once=lambda: settings.jobs.at_once)

    async def open(self) -> None:
        """Begin to look after the queue, and to work."""
        await self._sqlite.open()
        self.worker.open()

    async def close(self) -> None:
        """Give back what has not ended.  Idempotent."""
        await self.worker.close()
        await self._sqlite.close()
