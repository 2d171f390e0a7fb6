"""The one who rebuilds the jobs in a Redis that is not whole, as Redis lets it.

Every change is made by the script, and only while the lock is still this one's: whoever hangs in
the middle and comes back late changes nothing any more.
"""

from __future__ import annotations

from redis.asyncio import Redis

_FLIGHTS, _MARK, _EPOCH = "rj:flights", "rj:mark", "rj:epoch"


class RebuildAccess:
    """`process` is the run_id that Redis had when the lock was taken."""

    def __init__(self, redis: Redis, script: str, lock: str, process: str) -> None:
        self._redis = redis
        self._script = redis.register_script(script)
        self._lock = lock
        self._process = process

    async def begin(self) -> tuple[int | None, int]:
        """From where the journal has what is not here (None: from its beginning), and the number of
        the last epoch.
        """
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.zrange(_FLIGHTS, 0, 0, withscores=True)
            pipe.get(_MARK)
            pipe.get(_EPOCH)
            flights, mark, epoch = await pipe.execute()
        known = [int(score) for _, score in flights] + ([int(mark)] if mark else [-1])
        start = min(known)
        number, _, process = (epoch or b"").decode().partition(" ")
        return (None if start < 0 else start), int(number) if process else 0

    async def call(self, command: str, *arguments: str | bytes | float) -> None:
        """Carry out a change."""
        await self._script(args=[f"{command}!", 0, self._lock, *arguments])

    async def whole(self, epoch: int, offset: int) -> None:
        """All of the journal up to an offset was carried out: a new epoch begins."""
        await self.call("whole", epoch, self._process, offset)
