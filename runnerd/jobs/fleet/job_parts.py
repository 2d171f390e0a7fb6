"""What the sides of the fleet's queue share, and how a job ends for the journal."""

from __future__ import annotations

import time
from collections.abc import Sequence

from runnerd.jobs.changes import WorkSignal
from runnerd.jobs.fleet.announcements import Announcements
from runnerd.jobs.fleet.grouping import Grouped
from runnerd.jobs.fleet.job_codec import Record, job_of
from runnerd.jobs.fleet.job_index import JobIndex
from runnerd.jobs.fleet.journal import Journal
from runnerd.jobs.fleet.losses import Losses
from runnerd.jobs.fleet.publisher import Publisher
from runnerd.jobs.fleet.rebuilding import Rebuilding
from runnerd.jobs.job import Attempt, AttemptEnd, Job
from runnerd.jobs.sqlite.state import QueueRules

_TOGETHER = 100  # ends in one entry of the journal


class FleetParts:
    """Index and journal, and who is told of what."""

    def __init__(self, amqp_url: str, redis_url: str, rules: QueueRules, stream: str) -> None:
        self._rules = rules
        self._publisher = Publisher(amqp_url, "runnerd jobs")
        self._journal = Journal(amqp_url, self._publisher, stream)
        self._rebuilding = Rebuilding(self._journal)
        self._index = JobIndex(redis_url, lambda: self._rebuilding.run(self._index))
        self._announcements = Announcements(redis_url)
        self._work = WorkSignal()
        self._losses = Losses()
        self._ending: Grouped[str, None] = Grouped(self._journal_ends, _TOGETHER)

    async def get(self, ids: Sequence[str], *, principal: str | None = None) -> list[Job]:
        """As in the contract."""
        jobs = [job_of(record, whole=True) for record in await self._index.records(ids)]
        return [job for job in jobs if principal in (None, job.principal.id)]

    async def _journal_end(self, id: str) -> None:
        """Note how a job has ended."""
        await self._ending.do(id)

    async def _journal_ends(self, ids: list[str]) -> list[None]:
        """Note how several jobs have ended, in one entry."""
        ends = [_end(record) for record in await self._index.records(ids)]
        if ends:
            await self._journal.append({"kind": "ends", "ends": ends})
        return [None] * len(ids)

    async def _give_up(self, id: str, state: str) -> bool:
        """Cancel a job, or let it expire; whether it had not ended."""
        done, token = await self._index.call("cancel", id, state)
        if token:
            self._losses.tell(id, int(token))
        if done == 2:
            await self._journal_end(id)
        return bool(done == 2)

    async def _try_again(self, id: str, token: str, reason: str, end: AttemptEnd) -> bool:
        """An attempt came to nothing: another one follows, or the job has failed.

        Whether the token counted.
        """
        found = await self.get([id])
        if not found:
            return False
        [job] = found
        attempt = Attempt("", job.started or 0.0, time.time(), end, reason)
        pause = self._rules.policy().pause([*job.attempts, attempt])
        return await self._fail(id, token, "" if pause is None else f"{pause:.6f}", reason, end)

    async def _fail(self, id: str, token: str, pause: str, reason: str, end: AttemptEnd) -> bool:
        counted = await self._index.call("fail", id, token, pause, end, reason)
        if counted and not pause:
            await self._journal_end(id)
        return bool(counted)


def _end(record: Record) -> dict[str, object]:
    found = {name.decode(): value for name, value in record.hash.items()}
    return {
        "id": record.id,
        **{name: found.get(name, b"") for name in ("state", "ended", "reason", "started")},
        "output": record.output,
        "attempts": list(record.attempts),
        "responses": list(record.responses),
    }
