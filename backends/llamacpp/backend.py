"""LlamaCppBackend: the Backend contract, carried out with llama.cpp.

A run is a guard on the public socket and an engine process on its sibling socket `<stem>.e.sock`.
Which engine (llama-server, or the Python fallback) is decided at each run, so that an installation
that has just ended counts at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

import aiohttp

from runnerd import tasks
from runnerd.backends.guard import Guard
from runnerd.backends.health import wait_ready
from runnerd.backends.interface import (
    BackendConfiguration,
    BackendContext,
    BackendMode,
    EngineFailure,
    RequiredMemory,
)
from runnerd.backends.llamacpp.command import Launch, native_command
from runnerd.backends.llamacpp.failure import engine_failure
from runnerd.backends.llamacpp.fallback import Fallback
from runnerd.backends.llamacpp.flags import parse_flags
from runnerd.backends.llamacpp.install import Installer
from runnerd.backends.llamacpp.memory import MemoryEstimator
from runnerd.backends.llamacpp.server import ServerFinder
from runnerd.backends.llamacpp.settings import parse_settings
from runnerd.backends.names import ModelNames
from runnerd.backends.output import Output
from runnerd.backends.process import EngineProcess, ExitRecord, uninterrupted
from runnerd.errors import BackendFailure, NotSupported

log = logging.getLogger(__name__)

NAME = "llama.cpp"
_REMEDY = "install the native server: runnerd install llama.cpp"
_ENGINE_SUFFIX = ".e.sock"


class LlamaCppBackend:
    """Runs models on llama.cpp.  Constructed once per daemon; see `interface.Backend`."""

    def __init__(self, context: BackendContext) -> None:
        self._context = context
        self._settings = parse_settings(context.settings)
        self._finder = ServerFinder(self._settings, context.state_dir)
        self._installer = Installer(context.state_dir)
        self._fallback = Fallback()
        self._memory = MemoryEstimator(self._finder, self._settings)

    @property
    def name(self) -> str:
        return NAME

    @property
    def uses_external_model_management(self) -> bool:
        return False

    @property
    def streams_to_cancel(self) -> bool:
        # The fallback's streams carry no usage, so whole answers could not be put together from them.
        return self._runs_native()

    def engine_socket(self, socket: Path) -> Path:
        return socket.with_name(socket.name.removesuffix(".sock") + _ENGINE_SUFFIX)

    def missing(self, operation: str, mode: BackendMode) -> str | None:
        if self._runs_native():
            return None
        return self._fallback.missing(operation, mode)

    def check_configuration(self, config: BackendConfiguration) -> None:
        parse_flags(config.runtime_flags)

    async def run(
        self,
        socket: Path,
        model: str,
        model_ref: str,
        mode: BackendMode,
        config: BackendConfiguration,
    ) -> None:
        launch = self._launch(socket, model, model_ref, mode, config)
        argv, native = await self._command(launch)
        engine_socket = launch.socket
        guard = Guard(
            socket,
            engine_socket,
            ModelNames(model, model_ref),
            missing=lambda operation: (
                None if native else self._fallback.missing(operation, mode)
            ),
        )
        engine_socket.unlink(missing_ok=True)  # a stale one makes llama-server's bind fail
        await guard.start()
        process: EngineProcess | None = None
        readiness: asyncio.Task[None] | None = None
        try:
            process = self._start(socket, argv)
            readiness = tasks.spawn(wait_ready(engine_socket), name=f"readiness {socket.stem}")
            record = await process.wait()
            loading = not readiness.done()
        finally:
            if readiness is not None:
                readiness.cancel()
            await uninterrupted(
                self._clean_up(guard, process, engine_socket), name=f"end of {socket.stem}"
            )
        raise self._failure(record, launch, loading=loading)
