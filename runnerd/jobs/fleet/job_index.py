"""The fleet's jobs in Redis: calls of the script, and reading.

Redis counts as whole for as long as its process lives: one that was emptied, restarted or replaced
by a replica may lack what was acknowledged last, whatever its `appendfsync` is.  So each connection
asks first which process it has reached, and nothing is answered before what the journal has on top
was carried out there (`rebuild`, which the queue gives).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, cast
from uuid import uuid4

import msgspec
from redis.exceptions import ResponseError

from runnerd import tasks
from runnerd.errors import DatabaseFailure
from runnerd.jobs.fleet.job_codec import Record
from runnerd.jobs.fleet.job_script import REBUILD, SCRIPT
from runnerd.jobs.fleet.rebuild_access import RebuildAccess
from runnerd.jobs.fleet.redis_client import GONE, open_redis, run_id, run_id_in
from runnerd.jobs.job import JobState
from runnerd.jobs.queue import Count, Taken

EPOCH = "rj:epoch"
_LOCK = "rj:rebuilding"
_LOCK_MS = 30_000
_LOOK = 0.05  # seconds between two looks whether somebody else has rebuilt
_BATCH = 500

Value = str | bytes | float | int


class NotWhole(Exception):
    """Redis lacks what the journal has."""


class JobIndex:
    """Everything raises errors.DatabaseFailure while Redis cannot be used."""

    def __init__(self, url: str, rebuild: Callable[[RebuildAccess], Awaitable[None]]) -> None:
        self._redis = open_redis(url, greet=_greet)
        self._script = self._redis.register_script(SCRIPT)
        self._any = open_redis(url)  # also while the jobs are not whole
        self._rebuild = rebuild
        self.shift = 0.0  # seconds that tests let pass

    async def call(self, command: str, *arguments: Value) -> Any:
        """Have the script do something."""
        return await self._once_whole(lambda: self._script(args=[command, self.shift, *arguments]))

    async def _once_whole(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        while True:
            try:
                with _available():
                    return await ask()
            except NotWhole:
                await self.make_whole()

    async def make_whole(self) -> None:
        """Rebuild the jobs if nobody else does, and wait until they are there."""
        me = uuid4().hex
        while True:
            with _available():
                process = await run_id(self._any)
                if _is_of(cast("bytes | None", await self._any.get(EPOCH)), process):
                    return
                mine = await self._any.set(_LOCK, me, nx=True, px=_LOCK_MS)
            if mine:
                with contextlib.suppress(NotWhole):  # the lock was lost: Redis was emptied again
                    await self._rebuild_holding_the_lock(me, process)
            else:
                await asyncio.sleep(_LOOK)

    async def _rebuild_holding_the_lock(self, me: str, process: str) -> None:
        access = RebuildAccess(self._any, SCRIPT, me, process)
        holding = tasks.spawn(self._hold(), name="hold the lock of the rebuild")
        try:
            with _available():
                await self._rebuild(access)
        except DatabaseFailure:
            with contextlib.suppress(*GONE):  # else the lock ends by itself
                await access.call("give_up")
            raise
        finally:
            await tasks.cancel_and_wait(holding)

    async def _hold(self) -> None:
        while True:
            await asyncio.sleep(_LOCK_MS / 3000)
            with contextlib.suppress(*GONE):
                await self._any.pexpire(_LOCK, _LOCK_MS)

    async def records(self, ids: Sequence[str], *, whole: bool = True) -> list[Record]:
        """What there is of jobs, in the order of their ids."""
        found: list[Record] = []
        for start in range(0, len(ids), _BATCH):
            found += (await self.snapshot(ids[start : start + _BATCH], whole=whole))[1]
        return found

    async def snapshot(
        self, ids: Sequence[str], *, whole: bool = True
    ) -> tuple[bytes, list[Record]]:
        """The number of the epoch, and some jobs as they stand in it."""

        async def ask() -> list[Any]:
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.get(EPOCH)
                for id in ids:
                    key = f"rj:j:{id}"
                    pipe.hgetall(key)
                    pipe.lrange(f"{key}:a", 0, -1)
                    if whole:
                        pipe.lrange(f"{key}:r", 0, -1)
                        pipe.get(f"{key}:o")
                found = await pipe.execute()
            if not found[0]:
                raise NotWhole
            return found

        epoch, *values = await self._once_whole(ask)
        step = 4 if whole else 2
        rows = [values[start : start + step] for start in range(0, len(values), step)]
        return epoch.split()[0], [
            Record(id, row[0], row[1], *((row[2], row[3] or b"") if whole else ()))
            for id, row in zip(ids, rows, strict=True)
            if row[0]
        ]

    async def values(self, keys: Sequence[str]) -> list[bytes | None]:
        """What is under some keys."""

        async def ask() -> list[Any]:
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.get(EPOCH)
                pipe.mget(keys)
                found = await pipe.execute()
            if not found[0]:
                raise NotWhole
            return found

        return cast("list[bytes | None]", (await self._once_whole(ask))[1])

    async def newest(self, index: str, before: str | None, limit: int) -> list[str]:
        """Ids in an index (`all`, `p:...`, `g:...`), the newest first, of jobs before one."""
        await self.call("whole")  # nothing is answered from half of the jobs

        async def ask() -> list[bytes]:
            top = "+inf"
            if before is not None:
                number = await cast(
                    "Awaitable[bytes | None]", self._redis.hget(f"rj:j:{before}", "number")
                )
                if number is None:
                    return []
                top = f"({int(number)}"
            found = await self._redis.zrevrangebyscore(f"rj:{index}", top, "-inf", 0, limit)
            return cast("list[bytes]", found)

        return [id.decode() for id in await self._once_whole(ask)]

    async def counts(self) -> list[Count]:
        """How many jobs there are, by principal, model and state."""
        await self.call("whole")
        found = await self._once_whole(
            lambda: cast("Awaitable[dict[bytes, bytes]]", self._redis.hgetall("rj:counts"))
        )
        split = [(msgspec.json.decode(field), int(number)) for field, number in found.items()]
        return [
            Count(principal, model, JobState(state), number)
            for (principal, model, state), number in split
        ]

    async def taken(self, principal: str | None) -> Taken:
        """How many bytes the jobs of a principal take, or all."""
        await self.call("whole")

        async def ask() -> list[int]:
            sums = []
            for name in ("rj:bytes", "rj:results"):
                if principal is None:
                    held = await cast("Awaitable[list[bytes]]", self._redis.hvals(name))
                else:
                    one = await cast("Awaitable[bytes | None]", self._redis.hget(name, principal))
                    held = [one or b"0"]
                sums.append(sum(map(int, held)))
            return sums

        return Taken(*await self._once_whole(ask))

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose()
        await self._any.aclose()


async def _greet(connection: Any) -> None:
    """Begin a connection, and see that the jobs are whole in the process that it has reached."""
    await connection.on_connect()
    await connection.send_command("INFO", "server")
    process = run_id_in(await connection.read_response())
    await connection.send_command("GET", EPOCH)
    if not _is_of(await connection.read_response(), process):
        raise ResponseError(f"{REBUILD} this Redis has no jobs, or was restarted")


def _is_of(epoch: bytes | None, process: str) -> bool:
    return epoch is not None and epoch.decode().endswith(f" {process}")


@contextlib.contextmanager
def _available() -> Iterator[None]:
    """A with block in which it is told as such that Redis is away or cannot write.

    Raises NotWhole where the script or a new connection says so.
    """
    try:
        yield
    except ResponseError as error:
        if REBUILD in str(error):
            raise NotWhole from error
        raise DatabaseFailure(f"Redis refuses: {error}") from error
    except GONE as error:
        raise DatabaseFailure(f"Redis cannot be used: {error or type(error).__name__}") from error
