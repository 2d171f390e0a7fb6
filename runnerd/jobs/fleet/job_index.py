"""The fleet's jobs in Redis: calls of the script, and reading.

While the epoch is missing (Redis was emptied, or is a new one) nothing is answered: `rebuild`,
which the queue gives, is awaited first.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, cast
from uuid import uuid4

import msgspec
from redis.exceptions import ResponseError

from runnerd.errors import DatabaseFailure
from runnerd.jobs.fleet.job_codec import Record
from runnerd.jobs.fleet.job_script import REBUILD, SCRIPT
from runnerd.jobs.fleet.redis_client import GONE, open_redis
from runnerd.jobs.job import JobState
from runnerd.jobs.queue import Count

EPOCH = "rj:epoch"
_LOCK = "rj:rebuilding"
_LOCK_MS = 30_000
_LOOK = 0.05  # seconds between two looks whether somebody else has rebuilt
_BATCH = 500

Value = str | bytes | float | int


class JobIndex:
    """Everything raises errors.DatabaseFailure while Redis cannot be used."""

    def __init__(self, url: str, rebuild: Callable[[], Awaitable[None]]) -> None:
        self._redis = open_redis(url)
        self._script = self._redis.register_script(SCRIPT)
        self._rebuild = rebuild
        self.shift = 0.0  # seconds that tests let pass

    async def call(self, command: str, *arguments: Value) -> Any:
        """Have the script do something."""
        while True:
            try:
                with _available():
                    return await self._script(args=[command, self.shift, *arguments])
            except ResponseError as error:
                if REBUILD not in str(error):
                    raise DatabaseFailure(f"Redis refuses: {error}") from error
                await self.make_whole()

    async def make_whole(self) -> None:
        """Rebuild the jobs if nobody else does, and wait until they are there."""
        me = uuid4().hex
        while True:
            with _available():
                if await self._redis.exists(EPOCH):
                    return
                mine = await self._redis.set(_LOCK, me, nx=True, px=_LOCK_MS)
            if mine:
                break
            await asyncio.sleep(_LOOK)
        async with self._holding_the_lock():
            await self._rebuild()
        with _available():
            await self._redis.set(EPOCH, me)
            await self._redis.delete(_LOCK)

    @contextlib.asynccontextmanager
    async def _holding_the_lock(self) -> AsyncIterator[None]:
        async def hold() -> None:
            while True:
                await asyncio.sleep(_LOCK_MS / 3000)
                with contextlib.suppress(*GONE):
                    await self._redis.pexpire(_LOCK, _LOCK_MS)

        async with asyncio.TaskGroup() as group:
            holding = group.create_task(hold(), name="hold the lock of the rebuild")
            yield
            holding.cancel()

    async def records(self, ids: Sequence[str], *, whole: bool = True) -> list[Record]:
        """What there is of jobs, in the order of their ids."""
        found: list[Record] = []
        for start in range(0, len(ids), _BATCH):
            found += await self._records(ids[start : start + _BATCH], whole=whole)
        return found

    async def _records(self, ids: Sequence[str], *, whole: bool) -> list[Record]:
        while True:
            with _available():
                async with self._redis.pipeline(transaction=True) as pipe:
                    pipe.exists(EPOCH)
                    for id in ids:
                        key = f"rj:j:{id}"
                        pipe.hgetall(key)
                        pipe.lrange(f"{key}:a", 0, -1)
                        if whole:
                            pipe.lrange(f"{key}:r", 0, -1)
                            pipe.get(f"{key}:o")
                    is_whole, *values = await pipe.execute()
            if is_whole:
                break
            await self.make_whole()
        step = 4 if whole else 2
        rows = [values[start : start + step] for start in range(0, len(values), step)]
        return [
            Record(id, row[0], row[1], *((row[2], row[3] or b"") if whole else ()))
            for id, row in zip(ids, rows, strict=True)
            if row[0]
        ]

    async def newest(self, index: str, before: str | None, limit: int) -> list[str]:
        """Ids in an index (`all`, `p:...`, `g:...`), the newest first, of jobs before one."""
        await self.call("whole")  # nothing is answered from half of the jobs
        with _available():
            top = "+inf"
            if before is not None:
                number = await cast(
                    "Awaitable[bytes | None]", self._redis.hget(f"rj:j:{before}", "number")
                )
                if number is None:
                    return []
                top = f"({int(number)}"
            found = await self._redis.zrevrangebyscore(f"rj:{index}", top, "-inf", 0, limit)
        return [cast("bytes", id).decode() for id in found]

    async def counts(self) -> list[Count]:
        """How many jobs there are, by principal, model and state."""
        await self.call("whole")
        with _available():
            found = await cast("Awaitable[dict[bytes, bytes]]", self._redis.hgetall("rj:counts"))
        split = [(msgspec.json.decode(field), int(number)) for field, number in found.items()]
        return [
            Count(principal, model, JobState(state), number)
            for (principal, model, state), number in split
        ]

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose()


@contextlib.contextmanager
def _available() -> Any:
    """A with block in which a Redis that is away is told as such; what it says is not."""
    try:
        yield
    except ResponseError:
        raise
    except GONE as error:
        raise DatabaseFailure(f"Redis cannot be used: {error or type(error).__name__}") from error
