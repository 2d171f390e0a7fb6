"""Connections to RabbitMQ, and what goes wrong with them.

A connection is not repaired: when it is lost everything that was made on it is gone, tasks that
were not acknowledged come again, and whoever used it begins anew with the next one.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from urllib.parse import urlsplit

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError, DeliveryError

from runnerd.backoff import Backoff

log = logging.getLogger(__name__)
logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # says at length what we say in a line
logging.getLogger("aio_pika").setLevel(logging.CRITICAL)

LOST = (AMQPError, ChannelInvalidStateError, OSError, TimeoutError, asyncio.CancelledError)
"""What a call raises whose connection is lost.  aiormq cancels whoever waits for a frame; a caller
that catches these has to look whether it was cancelled itself (`lost`).
"""
_CONNECT = Backoff(0.2, 30.0)
_CONNECT_SECONDS = 10.0
_HEARTBEAT_SECONDS = 30  # a peer that is silent for two of them counts as gone


class BrokerLost(ConnectionError):
    """The connection was lost while something was under way; whether it was done is not known."""


class Unconfirmed(ConnectionError):
    """The broker did not take a message: it has no leader, no memory or no disk at the moment."""


async def connect(url: str, name: str) -> AbstractConnection:
    """One connection, which RabbitMQ's own tools list by `name`.  Raises BrokerLost."""
    try:
        connection = await aio_pika.connect(
            url,
            timeout=_CONNECT_SECONDS,
            client_properties={"connection_name": name},
            heartbeat=_HEARTBEAT_SECONDS,
        )
    except LOST as error:
        if isinstance(error, asyncio.CancelledError) and _was_cancelled():
            raise
        raise BrokerLost(f"{where(url)}: {error or type(error).__name__}") from error
    if _was_cancelled():
        await close(connection)
        raise asyncio.CancelledError
    return connection


async def connect_in_the_end(url: str, name: str) -> AbstractConnection:
    """Connect, however often it takes; says once that it fails, and once that it works again."""
    failures = 0
    while True:
        try:
            connection = await connect(url, name)
        except BrokerLost as error:
            failures += 1
            if failures == 1:
                log.warning("no broker: %s; trying again until it answers", error)
            await asyncio.sleep(_CONNECT.pause(failures) * (0.5 + random.random() / 2))
        else:
            log.info("connected to the broker at %s", where(url))
            return connection


def when_closed(connection: AbstractConnection, then: Callable[[], None]) -> None:
    """Call `then` once a connection is lost or closed."""
    connection.close_callbacks.add(lambda *_: then())


async def close(connection: AbstractConnection) -> None:
    """Close a connection, whether or not it still is one."""
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            await connection.close()
    except LOST:
        if _was_cancelled():
            raise


class Guarded:
    """A with block in which a lost connection raises BrokerLost, and a refused message
    Unconfirmed.

    Whoever is cancelled in it is cancelled: aiormq uses `asyncio.wait_for`, which before Python
    3.12 returns a result that came in the same moment, and says nothing of the cancellation.
    """

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, DeliveryError):
            raise Unconfirmed("the broker did not confirm a message") from error
        if error is None and _was_cancelled():
            raise asyncio.CancelledError
        if not isinstance(error, LOST):
            return
        if isinstance(error, asyncio.CancelledError) and _was_cancelled():
            return
        raise BrokerLost(str(error) or type(error).__name__) from error


def where(url: str) -> str:
    """The address in a URL, without login and password."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


def _was_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
