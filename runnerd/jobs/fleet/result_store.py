"""Results of ProtoLLM jobs in Redis, and who may write them.

A task may be delivered twice: to a worker that was cut off and goes on computing, and to the one
that got it afterwards.  So every delivery *claims* its job with a token of its own, and what is
written for the job counts only as long as that token is the last one that claimed it.  Check and
write are one script, which Redis runs as one step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from runnerd.jobs.fleet.protollm.result_keys import (
    ANNOUNCEMENT,
    Outcome,
    ResultKeys,
    Writes,
    outcome,
)
from runnerd.jobs.fleet.redis_client import COMMAND_SECONDS, GONE, open_redis

_CLAIM = """
local again = ARGV[2] == '1'
if again and redis.call('HGET', KEYS[1], 'done') then return {-1} end
if not again then redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[1], 'token', ARGV[1])
local tries = redis.call('HINCRBY', KEYS[1], 'tries', 1)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {tries, redis.call('HGET', KEYS[1], 'reasons') or ''}
"""
_WRITE = """
local token = redis.call('HGET', KEYS[1], 'token')
if token and token ~= ARGV[1] then return 0 end
if ARGV[3] == '1' then redis.call('HSET', KEYS[1], 'done', '1') end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
for i = 2, #KEYS do redis.call('SET', KEYS[i], ARGV[i + 2], 'PX', ARGV[2]) end
return 1
"""
_ANNOUNCED_AFTER = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job that is this delivery's: the `tries`-th try, and why the earlier ones failed."""

    token: str
    tries: int
    reasons: tuple[str, ...]


class ResultStore:
    """The keys of `ResultKeys` in one Redis.  Everything raises one of GONE while it is away."""

    def __init__(self, url: str, keys: ResultKeys, *, kept: float) -> None:
        """`kept` is how many seconds results stay."""
        self.url = url
        self.keys = keys
        self._kept = str(int(kept * 1000))
        self._redis = open_redis(url)
        self._claim = self._redis.register_script(_CLAIM)
        self._write = self._redis.register_script(_WRITE)

    async def claim(self, job_id: str, token: str, *, again: bool) -> Claimed | None:
        """Make a job this delivery's; None if it was delivered before and has its result.

        `again` says that the broker has delivered the task before.  A job that is new begins anew
        also where there was one of that id: clients choose ids, and some use one twice.
        """
        found = await _answer(
            self._claim(keys=[_claim_key(job_id)], args=[token, "1" if again else "0", self._kept])
        )
        if found[0] < 0:
            return None
        reasons = tuple(filter(None, found[1].decode("utf-8", "replace").split("\n")))
        return Claimed(token, int(found[0]), reasons)

    async def failed_once(self, job_id: str, reasons: Sequence[str]) -> None:
        """Note why the tries so far came to nothing, for whoever tries next."""
        text = "\n".join(reason.replace("\n", " ") for reason in reasons)
        await _answer(cast("Awaitable[Any]", self._redis.hset(_claim_key(job_id), "reasons", text)))

    async def write(self, job_id: str, token: str, writes: Writes, *, last: bool) -> bool:
        """Set keys, unless another delivery has claimed the job since.  `last`: it is over."""
        keys = [_claim_key(job_id), *(key for key, _ in writes.keys)]
        values = [value for _, value in writes.keys]
        return bool(
            await _answer(
                self._write(keys=keys, args=[token, self._kept, "1" if last else "0", *values])
            )
        )

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

    async def save(self, writes: Writes) -> None:
        """Set keys and announce them, as an API does before there is a worker."""
        async with self._redis.pipeline(transaction=True) as pipe:
            for key, value in writes.keys:
                pipe.set(key, value, px=int(self._kept))
            for channel in writes.channels:
                pipe.publish(channel, ANNOUNCEMENT)
            await pipe.execute()

    async def own(self, job_id: str, principal: str) -> bool:
        """Whether a job's id is a principal's, which it becomes if it is nobody's."""
        key = f"runnerd:owner:{job_id}"
        await self._redis.set(key, principal, nx=True, px=int(self._kept))
        return await self.owner(job_id) == principal

    async def owner(self, job_id: str) -> str | None:
        """Whose a job's id is."""
        found = await cast("Awaitable[bytes | None]", self._redis.get(f"runnerd:owner:{job_id}"))
        return None if found is None else found.decode()

    async def forget(self, job_id: str) -> None:
        """Take away what is left of an earlier job with this id."""
        await self._redis.delete(*self.keys.to_read(job_id), _claim_key(job_id))

    async def outcome(self, job_id: str) -> Outcome | None:
        """How a job stands, by what either generation's workers have written."""
        found = cast("Any", await self._redis.mget(self.keys.to_read(job_id)))
        return outcome(*found)

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose()


async def _answer(call: Awaitable[Any]) -> Any:
    async with asyncio.timeout(COMMAND_SECONDS):
        return await call


def _claim_key(job_id: str) -> str:
    return f"runnerd:claim:{job_id}"
