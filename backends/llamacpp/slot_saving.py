"""What llama.cpp's engines keep between their lives (`backends.slots.KeepsSlots`)."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from runnerd import threads
from runnerd.backends.configuration import BackendConfiguration, BackendMode
from runnerd.backends.handing_over import take_file
from runnerd.backends.interface import BackendContext
from runnerd.backends.llamacpp import slots
from runnerd.backends.llamacpp.engine_choice import EngineChoice
from runnerd.backends.llamacpp.launches import Launches, engine_socket, slots_folder
from runnerd.backends.slots import SlotMemory
from runnerd.deep_removal import remove_folder
from runnerd.errors import BackendFailure
from runnerd.regular import open_regular
from runnerd.threads import Stop

_PIECE_BYTES = 2**20


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
        if launch.slots is None or config.isolate_users:  # which would read none again
            return None
        server = await self._engines.server(config)
        if server is None or slots.SLOT_OPTION not in server.options:
            return None
        argv = self._engines.native_command(server, launch)
        return slots.fingerprint(server, launch, model, argv)

    async def slot_memory(
        self, model: str, mode: BackendMode, config: BackendConfiguration
    ) -> SlotMemory | None:
        launch = self._launches.of(Path("none.sock"), model, model, mode, config)
        server = await self._engines.server(config)
        if server is None:
            return None
        return slots.memory(launch.files, self._engines.native_command(server, launch))

    async def save_slots(
        self, socket: Path, model: str, names: Sequence[str], room_bytes: int
    ) -> list[str]:
        files = self._context.resolver.resolve(model)
        saved = await slots.save(engine_socket(socket), files, names, room_bytes)
        await threads.run(self._take, socket, saved)
        return saved

    async def restore_slots(self, socket: Path, names: Sequence[str]) -> int:
        try:
            await threads.run_stoppable(lambda stop: self._lend(socket, names, stop))
            return await slots.restore(engine_socket(socket), names)
        finally:
            await threads.run_to_end(self._take_back, socket, names)

    async def save_conversation(
        self,
        socket: Path,
        model: str,
        request: bytes,
        response: str,
        name: str,
        room_bytes: int,
        *,
        forget: bool = False,
    ) -> bool:
        files = self._context.resolver.resolve(model)
        engine = engine_socket(socket)
        written = await slots.save_conversation(
            engine, files, (request, response), name, room_bytes, forget=forget
        )
        if written:
            await threads.run(self._take, socket, [name])
        return written

    async def restore_conversation(
        self, socket: Path, name: str, restored: Sequence[int]
    ) -> int | None:
        try:
            await threads.run_stoppable(lambda stop: self._lend(socket, [name], stop))
            return await slots.restore_conversation(engine_socket(socket), name, restored)
        finally:
            await threads.run_to_end(self._take_back, socket, [name])

    def _take(self, socket: Path, names: Sequence[str]) -> None:
        """Move what an engine wrote in its own folder to where slots are kept.

        It is looked at where the engine cannot reach it any more.  Raises errors.BackendFailure.
        """
        owner = self._owner(socket)
        for written, kept in self._pairs(socket, names):
            try:
                written.rename(kept)
                take_file(kept, owner)
            except OSError as error:
                _remove(kept)
                raise BackendFailure(f"the engine's slots cannot be kept: {error}") from error

    def _lend(self, socket: Path, names: Sequence[str], stop: Stop) -> None:
        """Put kept slots into an engine's own folder.  What it may do to them, a checksum tells.

        The engine may do anything in that folder meanwhile, so nothing that is there is opened or
        given away.  Raises errors.BackendFailure.
        """
        owner = self._owner(socket)
        try:
            for lent, kept in self._pairs(socket, names):
                _lend_one(kept, lent, owner, stop)
        except OSError as error:
            raise BackendFailure(f"the engine cannot have its slots back: {error}") from error

    def _take_back(self, socket: Path, names: Sequence[str]) -> None:
        for lent, kept in self._pairs(socket, names):
            with contextlib.suppress(OSError):  # its folder goes with the engine
                lent.unlink()
            with contextlib.suppress(OSError):  # it may have been removed
                os.chown(kept, os.geteuid(), os.getegid(), follow_symlinks=False)

    def _owner(self, socket: Path) -> int:
        """The user of the engine that listens behind `socket`: its folder is that user's."""
        slots_dir = self._context.slots_dir
        return os.geteuid() if slots_dir is None else slots_folder(slots_dir, socket).stat().st_uid

    def _pairs(self, socket: Path, names: Sequence[str]) -> list[tuple[Path, Path]]:
        slots_dir = self._context.slots_dir
        if slots_dir is None:
            return []
        folder = slots_folder(slots_dir, socket)
        return [(folder / name, slots_dir / name) for name in names]


def _lend_one(kept: Path, lent: Path, owner: int, stop: Stop) -> None:
    with open(open_regular(kept), "rb") as source:
        if owner != os.geteuid():
            os.fchown(source.fileno(), owner, owner)
        with contextlib.suppress(FileNotFoundError):
            lent.unlink()
        try:
            lent.hardlink_to(kept)
        except OSError:  # a disk without links
            _copy(source, lent, owner, stop)


def _copy(source: BinaryIO, lent: Path, owner: int, stop: Stop) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(lent, flags, 0o600), "wb") as target:
        os.fchown(target.fileno(), owner, -1 if owner == os.geteuid() else owner)
        while piece := source.read(_PIECE_BYTES):
            stop.check()
            target.write(piece)


def _remove(path: Path) -> None:
    """Remove whatever an engine has put there."""
    with contextlib.suppress(OSError):
        if stat.S_ISDIR(path.lstat().st_mode):
            remove_folder(path)
        else:
            path.unlink()
