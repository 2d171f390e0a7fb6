"""The journal: what was submitted and how it ended, in a stream of RabbitMQ.

Redis answers every question about jobs and decides who gets which, but a Redis can be emptied, or
come back without its last second.  The journal is what the fleet's jobs are rebuilt from then.  It
is a stream and not a queue since it has to be read again from its beginning; RabbitMQ replicates
streams as it does quorum queues, and confirms an entry once a majority of nodes has it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import msgspec

from runnerd.errors import DatabaseFailure
from runnerd.jobs.fleet import broker
from runnerd.jobs.fleet.broker_calls import BrokerLost
from runnerd.jobs.fleet.broker_channel import Message
from runnerd.jobs.fleet.publisher import Publisher

STREAM = "runnerd.journal.3"  # the third form of its entries
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

    async def mark(self, epoch: int) -> int:
        """Append a mark, and return where it is: all that is appended later lies behind it."""
        async with self.reading("next") as reader:
            async for _ in reader.up_to({"kind": "mark", "epoch": epoch}):
                pass
            return reader.offset

    @contextlib.asynccontextmanager
    async def reading(self, start: int | str | None) -> AsyncIterator[JournalReader]:
        """A reader that begins at an offset; None: at the beginning.

        Raises errors.DatabaseFailure where the broker cannot be used.
        """
        try:
            connection = await broker.connect(self._url, "runnerd reads the journal")
        except BrokerLost as error:
            raise DatabaseFailure(f"the journal cannot be read: {error}") from error
        reader = JournalReader(self)
        try:
            channel = await connection.channel()
            await channel.prefetch(_AHEAD)
            await channel.declare(self._stream, ARGUMENTS)
            offset = {"x-stream-offset": "first" if start is None else start}
            await channel.consume(self._stream, reader.arrived, "journal", offset)
            yield reader
        except (BrokerLost, TimeoutError) as error:
            raise DatabaseFailure(f"the journal cannot be read: {error}") from error
        finally:
            await connection.close()


class JournalReader:
    """Entries in their order; `offset` is where the last one was."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._arrived: asyncio.Queue[Message] = asyncio.Queue()
        self.offset = -1

    def arrived(self, message: Message) -> None:
        """The broker has sent an entry."""
        self._arrived.put_nowait(message)

    async def up_to(self, mark: Entry) -> AsyncIterator[Entry]:
        """Append a mark, and read all that lies before it, and it.  Raises BrokerLost,
        TimeoutError, errors.DatabaseFailure.
        """
        mark = {**mark, "id": uuid4().hex}
        await self._journal.append(mark)
        while True:
            async with asyncio.timeout(_SILENCE):
                message = await self._arrived.get()
            await message.ack()
            self.offset = message.offset
            entry = _decode(message)
            yield entry
            if entry.get("id") == mark["id"]:
                return


def _decode(message: Message) -> Entry:
    try:
        entry = msgspec.msgpack.decode(message.body)
    except msgspec.DecodeError:
        return {}
    return entry if isinstance(entry, dict) else {}
