"""What llama.cpp's engines keep between their lives (`backends.slots.KeepsSlots`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from runnerd.backends.configuration import BackendConfiguration, BackendMode
from runnerd.backends.interface import BackendContext
from runnerd.backends.llamacpp import slots
from runnerd.backends.llamacpp.engine_choice import EngineChoice
from runnerd.backends.llamacpp.launches import Launches, engine_socket


class SlotSaving:
    """The part of the backend that saves and restores slots."""

    def __init__(self, context: BackendContext, engines: EngineChoice, launches: Launches) -> None:
        self._context = context
        self._engines = engines
        self._launches = launches

    async def slot_fingerprint(
        self, model: str, mode: BackendMode, config: BackendConfiguration
    ) -> str | None:
        launch = self._launches.of(Path("none.sock"), model, model, mode, config)
        if launch.slots is None:
            return None
        server = await self._engines.server(config)
        if server is None or slots.SLOT_OPTION not in server.options:
            return None
        argv = self._engines.native_command(server, launch)
        return slots.fingerprint(server, launch, model, argv)

    async def save_slots(
        self, socket: Path, model: str, names: Sequence[str], room_bytes: int
    ) -> list[str]:
        files = self._context.resolver.resolve(model)
        return await slots.save(engine_socket(socket), files, names, room_bytes)

    async def restore_slots(self, socket: Path, names: Sequence[str]) -> int:
        return await slots.restore(engine_socket(socket), names)
