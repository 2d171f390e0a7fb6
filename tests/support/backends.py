"""The one double of a backend that spells out the whole contract; others say what differs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp

from runnerd.backends.configuration import BackendConfiguration, BackendMode
from runnerd.backends.interface import RequiredMemory


class BackendDouble:
    """A backend that needs nothing, allows everything and serves for ever."""

    name = "double"
    uses_external_model_management = False
    streams_to_cancel = False

    async def serve(self, socket: Path) -> None:
        """Serve on a socket; what a double does differently goes here."""
        await asyncio.Event().wait()

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
        await self.serve(socket)

    async def install(self, http: aiohttp.ClientSession) -> None: ...

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
