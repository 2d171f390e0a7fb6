"""A connection of aio-pika of which nothing is left once it has ended.

`aio_pika.connect` loses a connection when it is cancelled between the last frame of the opening and
its return: reader, writer and heartbeat of aiormq then run on, and nobody can close them.  And a
connection whose peer takes nothing is closed by the library only when the peer has gone.  So the
parts of a connection are made here and are held from the beginning, and its socket can be cut.
"""

from __future__ import annotations

import asyncio
from typing import Any

import aio_pika
import aiormq
from aio_pika.abc import UnderlayConnection
from aio_pika.tools import OneShotCallback
from aiormq.connection import TCPTransportFactory, TLSTransportFactory, TransportFactory
from aiormq.exceptions import ConnectionClosed
from yarl import URL

from runnerd import tasks

_CLOSE_SECONDS = 3.0
"""For saying goodbye: a broker that hangs is left without."""


class AmqpConnection(aio_pika.Connection):
    """A connection that `open` opens, and that is gone after `end`, however far that had come.

    Every `open` has to be followed by `end`, also one that was cancelled or has failed.
    """

    def __init__(self, url: URL, **options: Any) -> None:
        super().__init__(url, **options)
        self._socket = _Socket(url)
        self._library = aiormq.Connection(url, transport_factory=self._socket, **self.kwargs)

    @property
    def is_closed(self) -> bool:
        """Whether it was closed or lost."""
        return super().is_closed or self._library.is_closed

    async def open(self, seconds: float) -> None:
        """Open it within so many seconds.  Raises TimeoutError, and what aiormq raises."""
        async with asyncio.timeout(seconds):
            await self._library.connect()
            await self._library.ready()
        told = OneShotCallback(self._on_connection_close)
        self._library.closing.add_done_callback(told)
        self.transport = UnderlayConnection(connection=self._library, close_callback=told)
        await self._on_connected()

    async def end(self) -> None:
        """Close it, or cut it where that takes too long; done however often the caller is
        cancelled.
        """
        await tasks.uninterrupted(self._end(), name="end a connection to the broker")

    async def _end(self) -> None:
        closing = tasks.spawn(self._close(), name="close a connection to the broker", quiet=True)
        await asyncio.wait([closing], timeout=_CLOSE_SECONDS)
        self._socket.cut()  # what waits for the peer ends with this
        await asyncio.wait([closing], timeout=_CLOSE_SECONDS)
        closing.cancel()

    async def _close(self) -> None:
        await self.close()
        await self._library.close(ConnectionClosed)  # also one that was not handed over yet


class _Socket(TransportFactory):
    """Opens the socket of a connection, and cuts it."""

    def __init__(self, url: URL) -> None:
        is_secure = url.scheme == "amqps"
        self._opens: TransportFactory
        self._opens = TLSTransportFactory() if is_secure else TCPTransportFactory()
        self._writer: asyncio.StreamWriter | None = None

    async def create(
        self, url: URL, **options: Any
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open it."""
        reader, self._writer = await self._opens.create(url, **options)
        return reader, self._writer

    def cut(self) -> None:
        """Close it without a word, whatever waits to be sent."""
        if self._writer is not None:
            self._writer.transport.abort()
