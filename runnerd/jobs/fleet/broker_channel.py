"""A channel to RabbitMQ and what comes through it: each call ends in time, and when its caller is
cancelled.  Everything raises BrokerLost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue, DeliveryMode

from runnerd.jobs.fleet.broker_calls import BrokerLost, WrongQueue, ask


@dataclass(frozen=True, slots=True)
class QueueState:
    """A queue as it was declared: messages that wait, and consumers of all."""

    messages: int
    consumers: int


class Message:
    """What the broker has delivered, until it is acknowledged or given back."""

    def __init__(self, message: AbstractIncomingMessage) -> None:
        self._message = message
        self.body = message.body
        self.consumer = str(message.consumer_tag)
        self.again = bool(message.redelivered)

    @property
    def offset(self) -> int:
        """Where it lies in its stream."""
        return int(str(self._message.headers.get("x-stream-offset", -1)))

    async def ack(self) -> None:
        """It is done with."""
        await ask(self._message.ack())

    async def give_back(self) -> None:
        """Somebody else may have it."""
        await ask(self._message.nack(requeue=True))


class Channel:
    """One channel of a connection."""

    def __init__(self, channel: AbstractChannel) -> None:
        self._channel = channel
        self._queues: dict[str, AbstractQueue] = {}
        self._is_broken = False

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be asked of it any more."""
        return self._is_broken or bool(self._channel.is_closed)

    async def declare(self, queue: str, arguments: Mapping[str, Any]) -> QueueState:
        """Make a durable queue, unless it is there.  Raises WrongQueue where it is another one.

        A channel is of no use when its declaration was not answered, or broken off.
        """
        try:
            found = await ask(
                self._channel.declare_queue(queue, durable=True, arguments=dict(arguments))
            )
        except WrongQueue as error:
            raise WrongQueue(f"the queue {queue} cannot be used: {error.message}") from error
        except (BrokerLost, asyncio.CancelledError):
            self._is_broken = True
            raise
        self._queues[queue] = found
        result = found.declaration_result
        return QueueState(int(result.message_count or 0), int(result.consumer_count or 0))

    async def publish(self, queue: str, body: bytes, priority: int | None) -> None:
        """Put a message into a queue; return once it is confirmed.  Raises Unconfirmed."""
        message = aio_pika.Message(body, delivery_mode=DeliveryMode.PERSISTENT, priority=priority)
        await ask(self._publish(message, queue))

    async def _publish(self, message: aio_pika.Message, queue: str) -> None:
        await self._channel.default_exchange.publish(message, queue, mandatory=True)

    async def prefetch(self, count: int) -> None:
        """Have each consumer get no more than so many messages before it acknowledges one."""
        await ask(self._channel.set_qos(count))

    async def consume(
        self, queue: str, then: Callable[[Message], None], tag: str, arguments: Mapping[str, Any]
    ) -> None:
        """Be a consumer of a declared queue: `then` is called with each message."""

        async def arrived(message: AbstractIncomingMessage) -> None:
            then(Message(message))

        consuming = self._queues[queue].consume(
            arrived, consumer_tag=tag, arguments=dict(arguments)
        )
        await ask(consuming)

    async def cancel(self, queue: str, tag: str) -> None:
        """Be no consumer any more; what it has stays with it."""
        await ask(self._queues[queue].cancel(tag))
