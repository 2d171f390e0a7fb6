"""Connections to Redis."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError

COMMAND_SECONDS = 10.0
"""For one command: a Redis that hangs counts as gone."""

_TRIES = 2  # after the first

GONE = (RedisError, OSError, TimeoutError)
"""What a call raises while Redis cannot be reached, or cannot write."""


def open_redis(url: str, greet: Callable[[Any], Awaitable[None]] | None = None) -> Redis:
    """A client with a pool of connections, none of which is open yet; `greet` begins each.

    It does not tell Redis which library this is: to find out reads a file, for each connection.
    """
    return Redis.from_url(
        url,
        socket_timeout=COMMAND_SECONDS,
        socket_connect_timeout=COMMAND_SECONDS,
        driver_info=None,
        retry=Retry(ExponentialBackoff(cap=1.0, base=0.05), _TRIES),
        redis_connect_func=greet,
    )


async def run_id(redis: Redis) -> str:
    """What names the process that is Redis now."""
    return str((await redis.info("server"))["run_id"])


def run_id_in(info: bytes | str) -> str:
    """The same, in what Redis says of itself."""
    text = info.decode() if isinstance(info, bytes) else str(info)
    found = [line for line in text.splitlines() if line.startswith("run_id:")]
    return found[0].removeprefix("run_id:").strip() if found else ""
