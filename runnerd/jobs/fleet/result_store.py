"""Results of ProtoLLM jobs in Redis, who may write them, and what keeps them when Redis does not.

A task may be delivered twice: to a worker that was cut off and goes on computing, and to the one
that got it afterwards.  So every delivery *claims* its job with a token of its own, and what is
written for the job counts only as long as that token is the last one that claimed it.

    take      look, journal, Redis           an id is a principal's; its prompt waits
    finish    Redis decides, journal, Redis  the result can be read once the journal has it

So a Redis that was emptied, or has come back without its last second, gets prompts and results from
the journal, as it does the fleet's jobs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

import msgspec

from runnerd.jobs.fleet.journaled_redis import JournaledRedis
from runnerd.jobs.fleet.protollm.result_keys import (
    ANNOUNCEMENT,
    Outcome,
    ResultKeys,
    Writes,
    outcome,
)
from runnerd.jobs.fleet.redis_client import GONE, open_redis

_ANNOUNCED_AFTER = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0)
_DONE, _USED_AGAIN = -1, -2  # instead of a number of tries


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job that is this delivery's: the `tries`-th try, and why the earlier ones failed.

    `principal` is whose it is, "" where it was not handed in through a daemon.
    """

    token: str
    tries: int
    reasons: tuple[str, ...]
    principal: str = ""


class ResultStore:
    """The keys of `ResultKeys` on one site.

    Everything but announcing raises errors.DatabaseFailure while Redis or the journal cannot be
    used.
    """

    def __init__(self, records: JournaledRedis, keys: ResultKeys, *, kept: float) -> None:
        """`kept` is how many seconds results stay."""
        self.keys = keys
        self._kept = int(kept * 1000)
        self.redis_url = records.redis_url
        self._journal, self._index = records.journal, records.index
        self._redis = open_redis(records.redis_url)

    async def take(self, job_id: str, principal: str, writes: Writes) -> bool:
        """Make an id a principal's, unless it is somebody else's; what is left of an earlier job
        with this id goes.  Once it returns `writes` are set, and survive Redis.
        """
        doc = self._encoded(writes, self.keys.to_read(job_id))
        while True:
            flight = uuid4().hex
            since = await self._index.call("prompt_taking", flight, job_id, principal, self._kept)
            if not since:
                return False
            entry = {"id": job_id, "principal": principal, "since": since, "kept": self._kept}
            await self._journal.append({"kind": "prompt", **entry, "doc": doc})
            if await self._index.call("prompt_take", flight, *entry.values(), doc):
                return True

    async def owner(self, job_id: str) -> str | None:
        """Whose a job's id is."""
        found = await self._index.call("prompt_owner", job_id)
        return None if found is None else str(found.decode())

    async def claim(self, job_id: str, token: str, *, again: bool) -> Claimed | None:
        """Make a job this delivery's; None if it was delivered before and has its result.

        `again` says that the broker has delivered the task before.  A job that is new begins anew
        also where there was one of that id: clients choose ids, and some use one twice.
        """
        while True:
            tries, *said = await self._index.call(
                "prompt_claim", job_id, token, "1" if again else "0", self._kept
            )
            if tries == _USED_AGAIN:
                await self.take(job_id, "", Writes((), ()))
                continue
            if tries == _DONE:
                done_by, doc = said
                if doc:  # whoever had it did not come to the end
                    await self._hand_in(job_id, done_by.decode(), doc)
                return None
            reasons, principal = [text.decode("utf-8", "replace") for text in said]
            return Claimed(token, int(tries), tuple(filter(None, reasons.split("\n"))), principal)

    async def tried(self, job_id: str, token: str, reasons: Sequence[str]) -> None:
        """Note why the tries so far came to nothing, for whoever tries next."""
        text = "\n".join(reason.replace("\n", " ") for reason in reasons)
        await self._index.call("prompt_tried", job_id, token, text.encode("utf-8", "replace"))

    async def show(self, job_id: str, token: str, writes: Writes) -> None:
        """Set keys that may get lost, unless another delivery has claimed the job since."""
        await self._index.call("prompt_show", job_id, token, self._kept, self._encoded(writes))

    async def finish(self, job_id: str, token: str, writes: Writes) -> bool:
        """Set the keys of a result once it is kept, unless another delivery has claimed the job
        since.
        """
        return await self._hand_in(job_id, token, self._encoded(writes))

    async def _hand_in(self, job_id: str, token: str, doc: bytes) -> bool:
        while True:
            staged = await self._index.call("prompt_stage", job_id, token, self._kept, doc)
            if not staged:
                return False
            if staged == [b""]:
                return True
            epoch, at = staged
            entry = {"id": job_id, "token": token, "at": at, "kept": self._kept}
            await self._journal.append({"kind": "result", "epoch": int(epoch), **entry, "doc": doc})
            if await self._index.call("prompt_reveal", epoch, *entry.values()):
                return True

    async def announce(self, channels: Sequence[str]) -> int:
        """Say once that something was saved; how many have heard it."""
        heard = [await self._redis.publish(channel, ANNOUNCEMENT) for channel in channels]
        return int(sum(heard))

    async def announce_until_heard(self, channels: Sequence[str]) -> bool:
        """Say it again until somebody has heard it, for some seconds.

        ProtoLLM's APIs subscribe after they have published the task, and a result that is announced
        before that is never seen.  Nobody may be waiting at all, which is no error.
        """
        for pause in _ANNOUNCED_AFTER:
            await asyncio.sleep(pause)
            try:
                if await self.announce(channels):
                    return True
            except GONE:
                continue
        return False

    async def outcome(self, job_id: str) -> Outcome | None:
        """How a job stands, by what either generation's workers have written."""
        status, answer, content = await self._index.values(self.keys.to_read(job_id))
        return outcome(status, answer, content)

    async def close(self) -> None:
        """Close the connections that are its own."""
        await self._redis.aclose()

    def _encoded(self, writes: Writes, deleted: Sequence[str] = ()) -> bytes:
        """As the script takes it: what to delete, to set, and to announce."""
        values = [text for pair in writes.keys for text in pair]
        return msgspec.msgpack.encode([deleted, values, writes.channels])
