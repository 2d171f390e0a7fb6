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
from aio_pika.connection import make_url

from runnerd.backoff import Backoff
from runnerd.jobs.fleet.amqp_connection import AmqpConnection
from runnerd.jobs.fleet.broker_calls import CALL_SECONDS, BrokerLost, ask
from runnerd.jobs.fleet.broker_channel import Channel

log = logging.getLogger(__name__)
logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # says at length what we say in a line
logging.getLogger("aio_pika").setLevel(logging.CRITICAL)

_CONNECT = Backoff(0.2, 30.0)
_HEARTBEAT_SECONDS = 30  # a peer that is silent for two of them counts as gone


class Connection:
    """One connection, until it is lost or closed."""

    def __init__(self, connection: AmqpConnection) -> None:
        self._connection = connection

    @property
    def is_closed(self) -> bool:
        """Whether it is of no use any more."""
        return self._connection.is_closed

    def when_closed(self, then: Callable[[], None]) -> None:
        """Call `then` once it is lost or closed."""
        self._connection.close_callbacks.add(lambda *_: then())

    async def channel(self) -> Channel:
        """A channel of its own.  Raises BrokerLost."""
        return Channel(await ask(self._opened_channel()))

    async def _opened_channel(self) -> aio_pika.abc.AbstractChannel:
        try:
            return await self._connection.channel(on_return_raises=True)
        except RuntimeError as error:  # of both libraries, where the connection is closed
            raise BrokerLost(str(error)) from error

    async def close(self) -> None:
        """Close it, whether or not it still is one."""
        await self._connection.end()


async def connect(url: str, name: str) -> Connection:
    """One connection, which RabbitMQ's own tools list by `name`.  Raises BrokerLost."""
    connection = AmqpConnection(
        make_url(url, heartbeat=_HEARTBEAT_SECONDS), client_properties={"connection_name": name}
    )
    is_open = False
    try:
        await ask(connection.open(CALL_SECONDS), seconds=CALL_SECONDS + 1)
        is_open = True
    except BrokerLost as error:
        raise BrokerLost(f"{where(url)}: {error}") from error
    finally:
        if not is_open:
            await connection.end()
    return Connection(connection)


async def connect_in_the_end(url: str, name: str) -> Connection:
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


def where(url: str) -> str:
    """The address in a URL, without login and password."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
