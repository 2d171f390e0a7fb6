"""A server that opens and closes AMQP connections and can do nothing else, in this event loop.

With it a test can stop whoever connects at every step, which a broker in a process of its own does
not allow.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from pamqp import commands, frame
from pamqp.header import ProtocolHeader

_HEAD = 7  # bytes of a frame before its content
_PROPERTIES: Any = {"capabilities": {"publisher_confirms": True}}
_TUNE = commands.Connection.Tune(channel_max=2047, frame_max=131072, heartbeat=60)


class AmqpServer:
    """`open` is how many clients there are now, `opened` how many have had a connection."""

    def __init__(self, hangs: bool) -> None:
        self.url = ""
        self.open = 0
        self.opened = 0
        self._hangs = hangs
        self._leave = asyncio.Event()

    def leave(self) -> None:
        """Close all connections without a word."""
        self._leave.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk to a client until it leaves."""
        self.open += 1
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                await self._open(reader, writer)
                if self._hangs:
                    await self._leave.wait()
                else:
                    await self._until_closed(reader, writer)
        finally:
            self.open -= 1
            writer.close()

    async def _open(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(ProtocolHeader().marshal()))
        _send(writer, commands.Connection.Start(server_properties=_PROPERTIES))
        await _receive(reader, commands.Connection.StartOk)
        _send(writer, _TUNE)
        await _receive(reader, commands.Connection.Open)
        _send(writer, commands.Connection.OpenOk())
        self.opened += 1

    async def _until_closed(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await _receive(reader, commands.Connection.Close)
        _send(writer, commands.Connection.CloseOk())


async def _receive(reader: asyncio.StreamReader, wanted: type[Any]) -> None:
    """Read frames up to one of a kind."""
    found: Any = None
    while not isinstance(found, wanted):
        head = await reader.readexactly(_HEAD)
        rest = await reader.readexactly(int.from_bytes(head[3:7], "big") + 1)
        found = frame.unmarshal(head + rest)[2]


def _send(writer: asyncio.StreamWriter, what: Any) -> None:
    writer.write(frame.marshal(what, 0))


@contextlib.asynccontextmanager
async def running_amqp_server(*, hangs: bool = False) -> AsyncIterator[AmqpServer]:
    """Serve for the length of a with block; one that `hangs` reads nothing after the opening."""
    served = AmqpServer(hangs)
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0)
    served.url = f"amqp://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    try:
        yield served
    finally:
        served.leave()
        server.close()
        await server.wait_closed()
