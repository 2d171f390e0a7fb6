"""Connections to Redis."""

from __future__ import annotations

from redis.asyncio import Redis
from redis.exceptions import RedisError

COMMAND_SECONDS = 10.0
"""For one command: a Redis that hangs counts as gone."""

GONE = (RedisError, OSError, TimeoutError)
"""What a call raises while Redis cannot be reached, or cannot write."""


def open_redis(url: str) -> Redis:
    """A client with a pool of connections, none of which is open yet.

    It does not tell Redis which library this is: to find out reads a file, for each connection.
    """
    return Redis.from_url(
        url,
        socket_timeout=COMMAND_SECONDS,
        socket_connect_timeout=COMMAND_SECONDS,
        driver_info=None,
    )
