"""Messages into RabbitMQ, each confirmed: whoever published one knows that it is kept.

Publishers wait for their confirmations side by side on one channel.  When the connection is lost
each tries again for a while: a message may then be there twice, which every queue here allows.

RabbitMQ confirms a declaration before it is on disk.  A node that is killed within the half second
that this takes does not find the queue again, and so not what was confirmed in it either.  Nobody
can ask whether it is there yet.  So nothing is published on a connection before the queue was known
there for longer than that; a message of ours in it shows that somebody else has waited already.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from runnerd.backoff import Backoff
from runnerd.errors import DatabaseFailure
from runnerd.jobs.fleet import broker
from runnerd.jobs.fleet.broker import Connection
from runnerd.jobs.fleet.broker_calls import BrokerLost, Unconfirmed
from runnerd.jobs.fleet.broker_channel import Channel

_PATIENCE = 30.0  # seconds
_PAUSE = Backoff(0.1, 2.0)
_SETTLES = 2.0
"""Seconds until a declaration is on disk: several times what it takes."""


class Publisher:
    """One connection for all that a process publishes, opened when it is needed."""

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name
        self._connection: Connection | None = None
        self._channel: Channel | None = None
        self._declared: dict[str, float] = {}  # queues, and from when they may be used
        self._opening = asyncio.Lock()
        self._is_closed = False

    async def publish(
        self, queue: str, body: bytes, *, arguments: Mapping[str, Any], priority: int | None = None
    ) -> None:
        """Put a message into a durable queue; return once the broker would find it again.

        Raises errors.DatabaseFailure where it has not; it may be there all the same.
        """
        failures, until = 0, time.monotonic() + _PATIENCE
        while True:
            try:
                await self._publish(queue, body, arguments, priority)
            except (BrokerLost, Unconfirmed) as error:
                failures += 1
                if time.monotonic() > until:
                    raise DatabaseFailure(f"the broker cannot be used: {error}") from error
                await asyncio.sleep(_PAUSE.pause(failures))
            else:
                return

    async def _publish(
        self, queue: str, body: bytes, arguments: Mapping[str, Any], priority: int | None
    ) -> None:
        channel, settled = await self._open(queue, arguments)
        await asyncio.sleep(max(0.0, settled - time.monotonic()))
        try:
            await channel.publish(queue, body, priority)
        except (BrokerLost, Unconfirmed):
            if self._channel is channel:
                self._declared.clear()
                if channel.is_closed:
                    await self._drop()
            raise

    async def _open(self, queue: str, arguments: Mapping[str, Any]) -> tuple[Channel, float]:
        """A channel on which a queue was declared, and from when it may be used.

        A broker that hangs, or has blocked the connection for want of memory, does not answer a
        declaration either.
        """
        async with self._opening:
            self._see_that_it_may()
            connection, channel = self._connection, self._channel
            if connection is None or connection.is_closed or channel is None or channel.is_closed:
                await self._drop()
                connection = self._connection = await broker.connect(self._url, self._name)
                self._see_that_it_may()
                channel = self._channel = await connection.channel()
            if queue not in self._declared:
                found = await channel.declare(queue, arguments)
                # Others publish into ProtoLLM's queues, too: what is in those shows nothing.
                is_old = found.messages > 0 and arguments.get("x-queue-type") == "stream"
                self._declared[queue] = time.monotonic() + (0.0 if is_old else _SETTLES)
            return channel, self._declared[queue]

    def _see_that_it_may(self) -> None:
        if self._is_closed:
            raise DatabaseFailure("the connection to the broker was closed, as this process ends")

    async def _drop(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        self._declared.clear()
        if connection is not None:
            await connection.close()

    async def close(self) -> None:
        """Close the connection, and open none any more.  Idempotent.

        Who is publishing is told that it failed.
        """
        self._is_closed = True
        await self._drop()
        async with self._opening:  # somebody may be connecting at this moment
            await self._drop()
