"""A backend whose engines are listeners in this process: loading them costs nothing."""

from __future__ import annotations

import asyncio
import socket as sockets
from pathlib import Path

from tests.support.backends import BackendDouble


class Listener(BackendDouble):
    """Its engines answer every request with an empty response."""

    name = "listener"

    async def serve(self, socket: Path) -> None:
        async def response(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            writer.close()

        with sockets.socket(sockets.AF_UNIX) as listener:
            listener.bind(str(socket))
            try:
                async with await asyncio.start_unix_server(response, sock=listener) as server:
                    await server.serve_forever()
            finally:
                socket.unlink(missing_ok=True)
