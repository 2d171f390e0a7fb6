"""One run: a guard on the public socket and an engine process on its sibling `<stem>.e.sock`."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

from runnerd.backends.guard import Guard
from runnerd.backends.interface import BackendContext
from runnerd.backends.limits import data_limit
from runnerd.backends.llamacpp.command import Launch
from runnerd.backends.llamacpp.engine_choice import EngineChoice
from runnerd.backends.llamacpp.failure import engine_failure
from runnerd.backends.llamacpp.launches import Launches
from runnerd.backends.llamacpp.layers import LoadOutput
from runnerd.backends.llamacpp.settings import LlamaCppSettings
from runnerd.backends.names import ModelNames
from runnerd.backends.process import EngineProcess
from runnerd.tasks import uninterrupted

log = logging.getLogger(__name__)


class EngineRuns:
    """Carries runs out, from the start of the engine until the last of its processes is gone."""

    def __init__(
        self,
        settings: LlamaCppSettings,
        context: BackendContext,
        engines: EngineChoice,
        launches: Launches,
    ) -> None:
        self._settings = settings
        self._context = context
        self._engines = engines
        self._launches = launches
        self._processes: dict[Path, EngineProcess] = {}  # by the socket of their run

    async def run(self, socket: Path, model: str, launch: Launch, ram_limit: int | None) -> None:
        """Serve one model until the engine fails or we are cancelled; see `interface.Backend`."""
        argv, native = await self._engines.command(launch)
        guard = Guard(
            socket,
            launch.socket,
            ModelNames(model, launch.model_ref, lambda name: self._launches.shares(launch, name)),
            unsupported_reason=lambda operation: (
                None if native else self._engines.fallback_lacks(operation, launch.mode)
            ),
            admit=self._context.admit,
        )
        _unlink(launch.socket)  # a stale one makes llama-server's bind fail
        await guard.start()
        process: EngineProcess | None = None
        try:
            process = self._processes[socket] = self._start(socket, argv, ram_limit)
            record = await process.wait()
        finally:
            self._processes.pop(socket, None)
            await uninterrupted(
                self._clean_up(guard, process, launch.socket), name=f"end of {socket.stem}"
            )
        log.error("runner %s: %s after %.1f s", socket.stem, record.reason, record.uptime)
        raise engine_failure(record, launch.model_ref, weights=str(launch.files.weights))

    def crowded(self, socket: Path, is_crowded: bool) -> None:
        """Schedule the engine of a run for many clients, or for few."""
        if (process := self._processes.get(socket)) is not None:
            process.schedule(batch=is_crowded)

    def _start(self, socket: Path, argv: list[str], ram_limit: int | None) -> EngineProcess:
        log.info("runner %s: starting %s", socket.stem, " ".join(argv).replace("\n", "\\n"))
        return EngineProcess.start(
            argv,
            output=LoadOutput(self._context.log_dir / f"{socket.stem}.log", socket.stem),
            environment=self._engines.finder.environment(),
            deny_network=self._settings.sandbox,
            data_limit=None if ram_limit is None else data_limit(ram_limit),
        )

    async def _clean_up(
        self, guard: Guard, process: EngineProcess | None, engine_socket: Path
    ) -> None:
        """End everything, the guard first: a client that does not read delays the engine's end."""
        try:
            await guard.close()
        finally:
            if process is not None:
                await process.stop(self._settings.stop_grace)
            _unlink(engine_socket)


def _unlink(socket: Path) -> None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # its folder may be gone, too
        socket.unlink()
