"""Tasks as RabbitMQ delivers them, and a worker's hold on one queue.

A subscription has a *consumer for each slot*, which holds one task at a time: unlike a prefetch
count, the number of consumers can change while tasks are under way, on every kind of queue.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from runnerd.jobs.fleet.broker import Connection
from runnerd.jobs.fleet.broker_calls import BrokerLost
from runnerd.jobs.fleet.broker_channel import Channel, Message
from runnerd.jobs.fleet.placement import Taking


class Delivery:
    """One task, until it is settled.  Settling what another connection delivered does nothing: the
    broker has given it to somebody else, or will.
    """

    def __init__(self, message: Message, queue: str, settled: Callable[[], None]) -> None:
        self._message = message
        self._settled = settled
        self.queue = queue
        self.body = message.body
        self.again = message.again

    async def done(self) -> None:
        """The task is over: its result is kept."""
        await self._settle(self._message.ack())

    async def give_back(self) -> None:
        """Somebody else may have the task."""
        await self._settle(self._message.give_back())

    async def _settle(self, settling: Awaitable[None]) -> None:
        try:
            with contextlib.suppress(BrokerLost):
                await settling
        finally:
            self._settled()


class Subscription:
    """All consumers of one worker on one queue, on a channel of their own."""

    def __init__(
        self,
        channel: Channel,
        name: str,
        arguments: dict[str, Any],
        deliver: Callable[[Delivery], None],
    ) -> None:
        self.name = name
        self._channel = channel
        self._arguments = arguments
        self._deliver = deliver
        self._priority = 0
        self._idle: set[str] = set()
        self._busy: set[str] = set()
        self._outgoing = 0  # tasks whose consumer is gone

    @classmethod
    async def open(
        cls,
        connection: Connection,
        name: str,
        arguments: dict[str, Any],
        deliver: Callable[[Delivery], None],
    ) -> Subscription:
        """Declare a durable queue, and take nothing yet.  Raises BrokerLost, WrongQueue."""
        channel = await connection.channel()
        await channel.declare(name, arguments)
        await channel.prefetch(1)
        return cls(channel, name, arguments, deliver)

    @property
    def running(self) -> int:
        """How many tasks of this queue are under way."""
        return len(self._busy) + self._outgoing

    async def look(self) -> tuple[int, int]:
        """How many tasks wait, and how many consumers others have.  Raises BrokerLost.

        Declares the queue again where somebody has deleted it, and forgets the consumers that are
        gone with it.
        """
        queue = await self._channel.declare(self.name, self._arguments)
        if queue.consumers < len(self._idle) + len(self._busy):
            self._outgoing += len(self._busy)
            self._idle.clear()
            self._busy.clear()
        others = max(0, queue.consumers - len(self._idle) - len(self._busy))
        return queue.messages, others

    async def take(self, taking: Taking) -> None:
        """Have as many consumers as said, with that priority.  Raises BrokerLost."""
        if taking.priority != self._priority:
            while self._idle or self._busy:
                await self._drop()
            self._priority = taking.priority
        while len(self._idle) + len(self._busy) > taking.prefetch:
            await self._drop()
        while len(self._idle) + self.running < taking.prefetch:
            tag = f"runnerd-{uuid.uuid4().hex}"
            self._idle.add(tag)
            await self._channel.consume(
                self.name, self._delivered, tag, {"x-priority": self._priority}
            )

    async def _drop(self) -> None:
        """Take one consumer away; a task that it has stays ours."""
        if self._idle:
            tag = self._idle.pop()
        else:
            tag = self._busy.pop()
            self._outgoing += 1
        await self._channel.cancel(self.name, tag)

    def _delivered(self, message: Message) -> None:
        tag = message.consumer
        if tag in self._idle:
            self._idle.remove(tag)
            self._busy.add(tag)
        else:  # it came while its consumer was taken away
            self._outgoing += 1
        self._deliver(Delivery(message, self.name, lambda: self._over(tag)))

    def _over(self, tag: str) -> None:
        if tag in self._busy:
            self._busy.remove(tag)
            self._idle.add(tag)
        else:
            self._outgoing = max(0, self._outgoing - 1)
