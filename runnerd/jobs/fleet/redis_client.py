"""Connections to Redis, whose calls end in time, and when their callers are cancelled.

redis-py limits the time of what it sends with `asyncio.wait_for`, which before Python 3.12 forgets
a cancellation that comes in the same moment as a result: a loop that asked Redis was cancelled and
went on for ever.  So it is given no limit for that, and the whole call has one here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import InvalidResponse, RedisError

COMMAND_SECONDS = 10.0
"""For one command: a Redis that hangs counts as gone."""

_TRIES = 2  # after the first
_CONNECTIONS = 32  # of one client; more calls at once wait for one

GONE = (RedisError, OSError, TimeoutError)
"""What a call raises while Redis cannot be reached, or cannot write, or is no Redis."""

_NO_REDIS = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""What the library raises where the other side does not speak the protocol."""

_SAID = "what responds there is no Redis"


class TimedRedis(Redis):
    """A client each of whose calls has COMMAND_SECONDS; then it raises TimeoutError."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """As the library's, in time."""
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except _NO_REDIS as error:
            raise InvalidResponse(_SAID) from error

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> TimedPipeline:
        """Several commands that are one call."""
        return TimedPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


class TimedPipeline(Pipeline):
    """Commands that are sent together."""

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """As the library's, in time."""
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                return await super().execute(raise_on_error)
        except _NO_REDIS as error:
            raise InvalidResponse(_SAID) from error


def open_redis(url: str, greet: Callable[[Any], Awaitable[None]] | None = None) -> Redis:
    """A client with a pool of connections, none of which is open yet; `greet` begins each.

    It does not tell Redis which library this is: to find out reads a file, for each connection.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=_CONNECTIONS,
        timeout=COMMAND_SECONDS,
        socket_timeout=None,
        socket_connect_timeout=COMMAND_SECONDS,
        driver_info=None,
        retry=Retry(ExponentialBackoff(cap=1.0, base=0.05), _TRIES),
        redis_connect_func=greet,
    )
    return TimedRedis.from_pool(pool)


async def run_id(redis: Redis) -> str:
    """What names the process that is Redis now."""
    return str((await redis.info("server"))["run_id"])


def run_id_in(info: bytes | str) -> str:
    """The same, in what Redis says of itself."""
    text = info.decode() if isinstance(info, bytes) else str(info)
    found = [line for line in text.splitlines() if line.startswith("run_id:")]
    return found[0].removeprefix("run_id:").strip() if found else ""
