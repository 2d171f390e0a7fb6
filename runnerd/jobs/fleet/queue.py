"""The fleet's queue of jobs: Redis decides and answers, the journal in RabbitMQ remembers.

    submit     look, journal (confirmed), Redis           acknowledged once Redis has it, too
    finish     Redis (the token counts), journal, Redis   visible once the journal has it
    emptied,   everybody waits until one process has read into Redis what the journal has
    restarted  and it lacks

What a host's clock says counts for nothing: leases, pauses and deadlines go by Redis', and if that
is set they do not move.
"""

from __future__ import annotations

import asyncio
import logging

from runnerd import tasks
from runnerd.errors import RunnerdError
from runnerd.jobs.fleet.job_submission import FleetSubmission
from runnerd.jobs.fleet.job_work import FleetWork
from runnerd.jobs.fleet.journal import STREAM
from runnerd.jobs.fleet.site_clock import SiteClock
from runnerd.jobs.job import AttemptEnd
from runnerd.jobs.sqlite.state import QueueRules

log = logging.getLogger(__name__)

_LOOK_INTERVAL = 1.0  # seconds


class FleetQueue(FleetSubmission, FleetWork):
    """`queue.Queue` for a site of many hosts; every host has one of these on the same servers."""

    def __init__(
        self, amqp_url: str, redis_url: str, rules: QueueRules, *, stream: str = STREAM
    ) -> None:
        super().__init__(amqp_url, redis_url, rules, stream)
        self._looking: asyncio.Task[None] | None = None
        self._clock = SiteClock(self._index)

    async def open(self) -> None:
        """Begin to look after the jobs."""
        await self._announcements.listen(["rj:work"], lambda _: self._work.wake())
        await self._announcements.listen(["rj:lost"], self._losses.heard)
        self._looking = tasks.spawn(self._keep_looking(), name="look after the fleet's jobs")

    def shift(self, seconds: float) -> None:
        """Believe that it is so many seconds later than it is, for tests."""
        self._index.shift = seconds

    async def look(self) -> None:
        """End what has expired, hand out again what was lost, forget what is old."""
        due = await self._clock.look(self._rules.kept())
        for id, token in zip(due.lost[::2], due.lost[1::2], strict=True):
            await self._lose(id.decode(), token.decode())
        for id in due.late:
            await self._give_up(id.decode(), "expired")
        for id in due.stuck:
            await self._journal_end(id.decode())
        if due.old:
            await self.delete([id.decode() for id in due.old])
        if due.mark:
            await self._mark(*due.mark)

    async def _mark(self, epoch: bytes, begun: bytes) -> None:
        """Note how far the journal has been carried out, so that a Redis that comes back reads on
        from there.
        """
        await self._index.call("mark", epoch, begun, await self._journal.mark(int(epoch)))

    async def _lose(self, id: str, token: str) -> None:
        """A worker was not heard of for longer than its lease."""
        reason = "the worker that had it was not heard of any more"
        await self._try_again(id, token, reason, AttemptEnd.LOST)
        self._losses.tell(id, int(token))

    async def _keep_looking(self) -> None:
        failing = False
        while True:
            try:
                await self.look()
                failing = False
            except RunnerdError as error:
                if not failing:
                    log.warning("the fleet's jobs wait: %s", error.message)
                failing = True
            await asyncio.sleep(_LOOK_INTERVAL)

    async def close(self) -> None:
        """Look no more; jobs that are claimed go to others when their leases have passed."""
        if self._looking is not None:
            await tasks.cancel_and_wait(self._looking)
            self._looking = None
        self._work.close()
        await self._submitting.close()
        await self._ending.close()
        await self._announcements.close()
        await self.records.close()
