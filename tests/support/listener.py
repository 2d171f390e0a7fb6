"""A backend whose engines are listeners in this process: loading them costs nothing."""

from __future__ import annotations

import asyncio
import socket as sockets
from pathlib import Path

import aiohttp

from runnerd.backends.interface import BackendConfiguration, BackendMode, RequiredMemory


class Listener:
    """A backend whose engines are listeners in this process: loading them costs nothing."""

    name = "listener"
    uses_external_model_management = False
    streams_to_cancel = False

    async def install(self, http: aiohttp.ClientSession) -> None: ...

    async def run(
        self,
        socket: Path,
        model: str,
        model_ref: str,
        mode: BackendMode,
        config: BackendConfiguration,
        *,
        ram_limit: int | None = None,
    ) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            writer.close()

        with sockets.socket(sockets.AF_UNIX) as listener:
            listener.bind(str(socket))
            try:
                async with await asyncio.start_unix_server(answer, sock=listener) as server:
                    await server.serve_forever()
            finally:
                socket.unlink(missing_ok=True)

    def engine_socket(self, socket: Path) -> Path:
        return socket

    def unsupported_reason(self, operation: str, mode: BackendMode) -> str | None:
        return None

    def slots(self, config: BackendConfiguration) -> tuple[int, ...]:
        return (4,)

    def context(self, model: str, config: BackendConfiguration) -> int:
        return 0

    def status(self) -> str:
        return "Running"

    async def disk_usage(self) -> int:
        return 0

    async def required_memory(
        self, model: str, config: BackendConfiguration, mode: BackendMode = BackendMode.COMPLETION
    ) -> RequiredMemory:
        return RequiredMemory(0)

    async def check_configuration(
        self, model: str, config: BackendConfiguration, mode: BackendMode = BackendMode.COMPLETION
    ) -> None: ...

    def doubt(self, model: str, config: BackendConfiguration) -> str | None:
        return None

    def least_memory(
        self, model: str, config: BackendConfiguration, mode: BackendMode = BackendMode.COMPLETION
    ) -> int:
        return 0
