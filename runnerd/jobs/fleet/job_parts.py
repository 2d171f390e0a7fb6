"""What the sides of the fleet's queue share, and how a job ends for the journal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from runnerd.jobs.changes import WorkSignal
from runnerd.jobs.fleet.announcements import Announcements
from runnerd.jobs.fleet.grouping import Grouped
from runnerd.jobs.fleet.job_codec import Record, job_of, tries_of
from runnerd.jobs.fleet.journaled_redis import JournaledRedis
from runnerd.jobs.fleet.losses import Losses
from runnerd.jobs.job import Attempt, AttemptEnd, Job
from runnerd.jobs.retries import RetryPolicy
from runnerd.jobs.sqlite.state import QueueRules
from runnerd.lru import Lru

_TOGETHER = 100  # ends in one entry of the journal
_CLAIMS = 10_000  # of one process at a time


class FleetParts:
    """Index and journal, and who is told of what."""

    def __init__(self, amqp_url: str, redis_url: str, rules: QueueRules, stream: str) -> None:
        self._rules = rules
        self.records = JournaledRedis(amqp_url, redis_url, stream)
        self._journal, self._index = self.records.journal, self.records.index
        self._announcements = Announcements(redis_url)
        self._work = WorkSignal()
        self._losses = Losses()
        self._handed_in: Lru[int, tuple[int, int]] = Lru(_CLAIMS)  # by token: bytes, responses
        self._ending: Grouped[str, None] = Grouped(self._journal_ends, _TOGETHER)

    async def get(self, ids: Sequence[str], *, principal: str | None = None) -> list[Job]:
        """As in the contract."""
        jobs = [job_of(record, whole=True) for record in await self._index.records(ids)]
        return [job for job in jobs if principal in (None, job.principal.id)]

    async def _journal_end(self, id: str) -> None:
        """Note how a job ends, and have everybody see it."""
        await self._ending.do(id)

    async def _journal_ends(self, ids: list[str]) -> list[None]:
        """Note how several jobs end, in one entry.

        Redis may be rebuilt meanwhile.  Then the entry counts only if it was read for that, and
        else what ends there now has to be noted anew.
        """
        while True:
            epoch, records = await self._index.snapshot(ids)
            ends = [_end(record) for record in records if b"ending" in record.hash]
            if not ends:
                break
            await self._journal.append({"kind": "ends", "epoch": int(epoch), "ends": ends})
            shown = [value for end in ends for value in (end["id"], end["token"])]
            if await self._index.call("reveal", epoch, *shown):
                break
        return [None] * len(ids)

    async def _give_up(self, id: str, state: str) -> bool:
        """Cancel a job, or let it expire; whether it had not ended.  Once it is noted everybody
        sees it.
        """
        how, token = await self._index.call("cancel", id, state)
        if token:
            self._losses.tell(id, int(token))
        if how in (b"given up", b"ending"):
            await self._journal_end(id)
        return bool(how == b"given up")

    async def _try_again(self, id: str, token: str, reason: str, end: AttemptEnd) -> bool:
        """An attempt came to nothing: another one follows, or the job has failed.

        Whether the token counted.
        """
        found = await self._index.records([id])
        if not found:
            return False
        job = job_of(found[0], whole=False)
        attempt = Attempt("", job.started or 0.0, time.time(), end, reason)
        pause = self._policy_of(found[0]).pause([*job.attempts, attempt])
        return await self._fail(id, token, "" if pause is None else f"{pause:.6f}", reason, end)

    def _policy_of(self, record: Record) -> RetryPolicy:
        """What the daemon that took the job in says of tries, else what is the rule here."""
        policy, tries = self._rules.policy(), tries_of(record)
        return policy if tries is None else replace(policy, failures=tries)

    async def _fail(self, id: str, token: str, pause: str, reason: str, end: AttemptEnd) -> bool:
        counted = await self._index.call("fail", id, token, pause, end, reason)
        if counted and not pause:
            await self._journal_end(id)
        return bool(counted)


def _end(record: Record) -> dict[str, Any]:
    found = record.hash
    return {
        "id": record.id,
        "state": found[b"ending"],
        "ended": found[b"end_at"],
        "reason": found[b"end_reason"],
        **{
            name: found.get(name.encode(), b"")
            for name in ("created", "token", "started", "worker")
        },
        "given_back": found.get(b"given_back", b"0"),
        "output": record.output,
        "attempts": list(record.attempts),
        "responses": list(record.responses),
    }
