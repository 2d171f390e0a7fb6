"""The queue of a daemon: both sides, and what has to be looked at from time to time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from uuid import uuid4

from runnerd import tasks
from runnerd.database import Connection, Database
from runnerd.errors import LeaseLost, RunnerdError
from runnerd.jobs.clock import SteadyClock
from runnerd.jobs.queue import Claim
from runnerd.jobs.sqlite import transitions
from runnerd.jobs.sqlite.state import QueueRules, QueueState
from runnerd.jobs.sqlite.submission import SqliteSubmission
from runnerd.jobs.sqlite.work import SqliteWork

log = logging.getLogger(__name__)

_LOOK = 1.0  # seconds between looks at leases and deadlines
_SWEEP = 60.0  # seconds between looks for what has been kept long enough
_LATER = 3600.0  # seconds: when deadlines are looked at without one being known


class SqliteQueue(SqliteSubmission, SqliteWork):
    """`queue.Queue` in the daemon's database, from `open` to `close`.

    To be made on the event loop and before the database is opened.
    """

    def __init__(
        self,
        database: Database,
        rules: QueueRules | None = None,
        *,
        clock: Callable[[], float] | None = None,
        passed: Callable[[], float] = time.monotonic,
    ) -> None:
        state = QueueState(database, rules or QueueRules(), clock or SteadyClock(), passed)
        SqliteSubmission.__init__(self, state)
        SqliteWork.__init__(self, state)
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._swept = 0.0
        database.when_opened(self._opened)

    def _opened(self, _: Connection) -> None:
        """In the writer's thread: what was claimed before is to be claimed again."""
        self._state.epoch = uuid4().hex
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._other_content)

    def _other_content(self) -> None:
        state = self._state
        state.leases.revoke_all()
        state.look_at_deadlines = 0.0
        state.changes.tell_all()
        state.work.wake()

    async def open(self) -> None:
        """Begin to look after leases, deadlines and old results."""
        self._task = tasks.spawn(self._keep(), name="job queue")

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            try:
                await self.look()
            except RunnerdError as error:  # the database; it says so itself
                log.debug("the job queue could not be looked after: %s", error.message)

    async def look(self) -> None:
        """Take jobs from workers that are not heard of, end those whose deadline has passed, and
        remove what was kept long enough.
        """
        state = self._state
        for claim in state.leases.overdue():
            await self._lose(claim)
        now = state.clock()
        if state.look_at_deadlines <= now:
            state.look_at_deadlines = now + _LATER
            await state.database.write(lambda connection: _expire(connection, now), then=self._told)
        if state.passed() - self._swept >= _SWEEP:
            self._swept = state.passed()
            before = now - state.rules.kept()
            while await state.database.write(
                lambda connection: transitions.sweep(connection, before)
            ):
                pass

    def _told(self, found: tuple[list[transitions.Ended], float | None]) -> None:
        expired, deadline = found
        self._state.ended(expired)
        self._state.deadline(deadline)

    async def _lose(self, claim: Claim) -> None:
        state = self._state
        now = state.clock()
        reason = f"the worker {claim.worker} was not heard of any more"

        def then(_: None) -> None:
            state.changes.tell([claim.job.id])
            state.work.wake()

        state.leases.revoke(claim.job.id, claim.token)
        with contextlib.suppress(LeaseLost):
            await state.database.write(
                lambda connection: transitions.lose_claim(
                    connection, claim, reason, state.rules.policy(), now
                ),
                then=then,
            )

    async def close(self) -> None:
        """Look after nothing any more.  Idempotent."""
        self._state.work.close()
        task, self._task = self._task, None
        if task is not None:
            await tasks.cancel_and_wait(task)


def _expire(connection: Connection, now: float) -> tuple[list[transitions.Ended], float | None]:
    """End jobs whose deadline has passed; and when the next one's does."""
    expired = transitions.expire(connection, now)
    found = connection.execute(
        "SELECT min(deadline) FROM jobs WHERE deadline IS NOT NULL AND ended IS NULL"
    )
    return expired, found.fetchone()[0]
