"""The journal: what was submitted and how it ended, in a stream of RabbitMQ.

Redis answers every question about jobs and decides who gets which, but a Redis can be emptied, or
come back without its last second.  The journal is what the fleet's jobs are rebuilt from then.  It
is a stream and not a queue since it has to be read again from its beginning; RabbitMQ replicates
streams as it does quorum queues, and confirms an entry once a majority of nodes has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import aio_pika
import msgspec
from aio_pika.abc import AbstractIncomingMessage

from runnerd.errors import DatabaseFailure
from runnerd.jobs.fleet import broker
from runnerd.jobs.fleet.broker import BrokerLost, Guarded
from runnerd.jobs.fleet.publisher import Publisher

STREAM = "runnerd.journal"
ARGUMENTS: dict[str, Any] = {
    "x-queue-type": "stream",
    "x-max-age": "30D",
    "x-stream-max-segment-size-bytes": 100_000_000,
}
_AHEAD = 500  # entries on their way while the journal is read
_SILENCE = 30.0  # seconds

Entry = dict[str, Any]


class Journal:
    """Entries are dictionaries; `kind` says what they are about."""

    def __init__(self, url: str, publisher: Publisher, stream: str = STREAM) -> None:
        self._url = url
        self._publisher = publisher
        self._stream = stream

    async def append(self, entry: Entry) -> None:
        """Add an entry; return once it is confirmed.  Raises errors.DatabaseFailure."""
        await self._publisher.publish(
            self._stream, msgspec.msgpack.encode(entry), arguments=ARGUMENTS
        )

    async def replay(self) -> AsyncIterator[Entry]:
        """All entries that were confirmed before this call, the oldest first.

        Raises errors.DatabaseFailure where the broker cannot be used.
        """
        mark = uuid4().hex
        await self.append({"kind": "mark", "id": mark})
        try:
            connection = await broker.connect(self._url, "runnerd reads the journal")
        except BrokerLost as error:
            raise DatabaseFailure(f"the journal cannot be read: {error}") from error
        arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        try:
            with Guarded():
                channel = await connection.channel()
                await channel.set_qos(_AHEAD)
                stream = await channel.declare_queue(
                    self._stream, durable=True, arguments=ARGUMENTS
                )
                await stream.consume(arrived.put, arguments={"x-stream-offset": "first"})
            while True:
                async with asyncio.timeout(_SILENCE):
                    message = await arrived.get()
                with Guarded():
                    await message.ack()
                entry = _decode(message)
                if entry.get("kind") != "mark":
                    yield entry
                elif entry.get("id") == mark:
                    return
        except (BrokerLost, TimeoutError) as error:
            raise DatabaseFailure(f"the journal cannot be read: {error}") from error
        finally:
            await broker.close(connection)


def _decode(message: aio_pika.abc.AbstractIncomingMessage) -> Entry:
    try:
        entry = msgspec.msgpack.decode(message.body)
    except msgspec.DecodeError:
        return {}
    return entry if isinstance(entry, dict) else {}
