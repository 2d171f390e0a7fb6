"""LlamaCppBackend: the Backend contract, carried out with llama.cpp.

A run is a guard on the public socket and an engine process on its sibling socket `<stem>.e.sock`.
Which engine (llama-server, or the Python fallback) is decided at each run, so that an installation
that has just ended counts at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import aiohttp

from runnerd.backends.guard import Guard
from runnerd.backends.interface import (
    BackendConfiguration,
    BackendContext,
    BackendMode,
    RequiredMemory,
)
from runnerd.backends.limits import data_limit
from runnerd.backends.llamacpp import slots
from runnerd.backends.llamacpp.building.choice import EngineRequest
from runnerd.backends.llamacpp.command import Launch, context_tokens, native_command, slot_counts
from runnerd.backends.llamacpp.devices import (
    check_devices,
    check_placement,
    placement_flags,
)
from runnerd.backends.llamacpp.failure import engine_failure
from runnerd.backends.llamacpp.fallback import Fallback
from runnerd.backends.llamacpp.flags import extends_context, parse_flags, spelled
from runnerd.backends.llamacpp.footprint import cache_bytes
from runnerd.backends.llamacpp.install import Installer, occupied_bytes
from runnerd.backends.llamacpp.layers import LoadOutput
from runnerd.backends.llamacpp.memory import MemoryEstimator
from runnerd.backends.llamacpp.quantize import Quantizer
from runnerd.backends.llamacpp.server import NativeServer, ServerFinder, UnfitEngine
from runnerd.backends.llamacpp.serving import model_serving
from runnerd.backends.llamacpp.settings import parse_settings
from runnerd.backends.names import ModelNames
from runnerd.backends.process import EngineProcess, uninterrupted
from runnerd.errors import BackendFailure, InvalidConfiguration, NotSupported, RunnerdError

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
        self._installer = Installer(context.state_dir, self._settings)
        self._fallback = Fallback()
        self._memory = MemoryEstimator(self._finder, self._settings)
        self._quantizer = Quantizer(self._finder, self._settings)
        self._engines: dict[Path, EngineProcess] = {}  # by the socket of their run

    @property
    def name(self) -> str:
        return NAME

    @property
    def uses_external_model_management(self) -> bool:
        return False

    @property
    def streams_to_cancel(self) -> bool:
        # The fallback's streams carry no usage: no whole answer could be put together from one.
        return self._runs_native()

    def engine_socket(self, socket: Path) -> Path:
        return socket.with_name(socket.name.removesuffix(".sock") + _ENGINE_SUFFIX)

    def unsupported_reason(self, operation: str, mode: BackendMode) -> str | None:
        if self._runs_native() or self._finder.unfit:  # a load says then what is the matter
            return None
        return self._fallback.unsupported_reason(operation, mode)

    def slots(self, config: BackendConfiguration) -> tuple[int, ...]:
        if not self._runs_native():
            return (1,)
        return slot_counts(config, self._settings)

    def context(self, model: str, config: BackendConfiguration) -> int:
        return context_tokens(self._context.resolver.resolve(model), config, self._settings)

    async def check_configuration(
        self, model: str, config: BackendConfiguration, mode: BackendMode = BackendMode.COMPLETION
    ) -> None:
        flags = parse_flags(config.runtime_flags)
        check_placement(config, flags)
        self._check_draft(config)
        try:
            server = await self._server(config)
        except BackendFailure as failure:
            if config.engine is not None:
                raise InvalidConfiguration(failure.message, param="engine") from failure
            return  # `runnerd doctor` tells of it
        if server is None:
            return
        spelled(flags, server.options, server.version)
        placement_flags(config.placement, server.devices)
        check_devices(flags, server.devices)

    def doubt(self, model: str, config: BackendConfiguration) -> str | None:
        trained = self._context.resolver.resolve(model).facts.context_length
        asked = config.context_size or 0
        if not trained or asked <= trained or extends_context(parse_flags(config.runtime_flags)):
            return None
        return (
            f"context-size {asked} is more than the {trained} tokens that the model was trained "
            "for: what lies beyond them it cannot make sense of, unless flags such as "
            "--rope-scaling stretch it"
        )

    def least_memory(
        self, model: str, config: BackendConfiguration, mode: BackendMode = BackendMode.COMPLETION
    ) -> int:
        files = self._context.resolver.resolve(model)
        fewest = config.model_copy(update={"parallel": slot_counts(config, self._settings)[-1]})
        load = model_serving(files, fewest, mode, self._settings, ()).load
        return cache_bytes(files.facts, load)

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
        launch = self._launch(socket, model, model_ref, mode, config)
        argv, native = await self._command(launch)
        engine_socket = launch.socket
        guard = Guard(
            socket,
            engine_socket,
            ModelNames(model, model_ref, lambda name: self._shares(launch, name)),
            unsupported_reason=lambda operation: (
                None if native else self._fallback.unsupported_reason(operation, mode)
            ),
            admit=self._context.admit,
        )
        _unlink(engine_socket)  # a stale one makes llama-server's bind fail
        await guard.start()
        process: EngineProcess | None = None
        try:
            process = self._engines[socket] = self._start(socket, argv, ram_limit)
            record = await process.wait()
        finally:
            self._engines.pop(socket, None)
            await uninterrupted(
                self._clean_up(guard, process, engine_socket), name=f"end of {socket.stem}"
            )
        log.error("runner %s: %s after %.1f s", socket.stem, record.reason, record.uptime)
        raise engine_failure(record, model_ref, weights=str(launch.files.weights))

    async def install(self, http: aiohttp.ClientSession) -> None:
        if self._settings.path is not None:
            return
        request = EngineRequest(found=True)
        try:
            server = await self._finder.find()
        except UnfitEngine:
            request = EngineRequest(rebuild=True)
        else:
            if server is not None and not self._finder.unused_cards(server):
                return
        await self._installer.install(http, request)
        await self._finder.find()

    def status(self) -> str:
        if self._installer.progress is not None:
            return f"Installing: {self._installer.progress}"
        if self._runs_native():
            return self._running()
        problem = self._finder.problem or self._installer.problem
        if self._runs_fallback():
            detail = problem or _REMEDY
            return f"Running: llama-cpp-python {self._fallback.version} (limited; {detail})"
        if problem is not None:
            return f"Error: {problem}"
        return f"Not Installed: {_REMEDY}"

    def _running(self) -> str:
        """Say which engine runs, what it leaves unused first."""
        server = self._finder.current
        parts = [self._finder.unused_cards(server)] if server is not None else []
        parts += [f"{NAME} {server.version}", server.warning] if server is not None else [NAME]
        return f"Running: {'; '.join(filter(None, parts))}"

    async def disk_usage(self) -> int:
        with contextlib.suppress(BackendFailure):
            server = await self._finder.find()
            return await asyncio.to_thread(
                occupied_bytes, self._context.state_dir, None if server is None else server.path
            )
        return 0

    async def required_memory(
        self, model: str, config: BackendConfiguration, mode: BackendMode = BackendMode.COMPLETION
    ) -> RequiredMemory:
        files = [self._context.resolver.resolve(model)]
        if config.speculative is not None:
            files.append(self._context.resolver.resolve(config.speculative.draft_model))
        return await self._memory.required(files, config, mode)

    async def prepare(self) -> None:
        """Look at the engine before the first request does; see `interface.Preparing`."""
        if self._settings.server == "python":
            return
        try:
            server = await self._finder.find()
        except BackendFailure as failure:
            log.error("no model can be loaded: %s", failure.message)
            return
        if unused := self._finder.unused_cards(server):
            log.warning("%s", unused)
        if server is None and not self._runs_fallback():
            log.warning("llama.cpp is not installed: %s", _REMEDY)

    def crowded(self, socket: Path, is_crowded: bool) -> None:
        if (process := self._engines.get(socket)) is not None:
            process.schedule(batch=is_crowded)

    async def quantize(self, source: Path, target: Path, kind: str) -> None:
        await self._quantizer.quantize(source, target, kind)

    # what engines keep between their lives (backends.slots.KeepsSlots)

    async def slot_fingerprint(
        self, model: str, mode: BackendMode, config: BackendConfiguration
    ) -> str | None:
        launch = self._launch(Path("none.sock"), model, model, mode, config)
        if launch.slots is None or self._settings.server == "python":
            return None
        server = await self._server(config)
        if server is None or slots.SLOT_OPTION not in server.options:
            return None
        argv = self._native_command(server, launch)
        return slots.fingerprint(server, launch, model, argv)

    async def save_slots(
        self, socket: Path, model: str, names: Sequence[str], room_bytes: int
    ) -> list[str]:
        files = self._context.resolver.resolve(model)
        return await slots.save(self.engine_socket(socket), files, names, room_bytes)

    async def restore_slots(self, socket: Path, names: Sequence[str]) -> int:
        return await slots.restore(self.engine_socket(socket), names)

    # which engine

    def _runs_native(self) -> bool:
        return self._settings.server != "python" and self._finder.likely()

    def _runs_fallback(self) -> bool:
        if self._settings.engine is not None or self._settings.server == "native":
            return False
        # A fallback around code that this processor does not run would die of the same.
        return self._fallback.available and not self._finder.unfit

    async def _server(self, config: BackendConfiguration) -> NativeServer | None:
        return None if self._settings.server == "python" else await self._finder.find(config.engine)

    async def _command(self, launch: Launch) -> tuple[list[str], bool]:
        """Return the engine's argv and whether it is the native one."""
        server = await self._server(launch.configuration)
        if server is not None:
            return self._native_command(server, launch), True
        if not self._runs_fallback():
            raise BackendFailure(f"llama.cpp is not installed: {_REMEDY}")
        reason = self._fallback.unsupported_reason("", launch.mode)
        if reason is not None:
            raise NotSupported(reason)
        return self._fallback.command(launch, self._settings), False

    def _native_command(self, server: NativeServer, launch: Launch) -> list[str]:
        return native_command(server, replace(launch, devices=server.devices), self._settings)

    # one run

    def _launch(
        self,
        socket: Path,
        model: str,
        model_ref: str,
        mode: BackendMode,
        config: BackendConfiguration,
    ) -> Launch:
        resolver = self._context.resolver
        speculative = config.speculative
        launch = Launch(
            socket=self.engine_socket(socket),
            model_ref=model_ref,
            files=resolver.resolve(model),
            draft=None if speculative is None else resolver.resolve(speculative.draft_model),
            mode=mode,
            configuration=config,
        )
        return replace(launch, slots=self._context.slots_dir if slots.works(launch) else None)

    def _shares(self, launch: Launch, name: str) -> bool:
        """Say whether a name is that of another model with the same files."""
        if not launch.files.load:
            return False
        try:
            return self._context.resolver.resolve(name).load == launch.files.load
        except RunnerdError:
            return False

    def _start(self, socket: Path, argv: list[str], ram_limit: int | None) -> EngineProcess:
        log.info("runner %s: starting %s", socket.stem, " ".join(argv).replace("\n", "\\n"))
        return EngineProcess.start(
            argv,
            output=LoadOutput(self._context.log_dir / f"{socket.stem}.log", socket.stem),
            environment=self._finder.environment(),
            deny_network=self._settings.sandbox,
            data_limit=None if ram_limit is None else data_limit(ram_limit),
        )

    def _check_draft(self, config: BackendConfiguration) -> None:
        """Raise errors.InvalidConfiguration for a draft model that is not here."""
        if config.speculative is None:
            return
        try:
            self._context.resolver.resolve(config.speculative.draft_model)
        except RunnerdError as error:
            raise InvalidConfiguration(
                f"speculative.draft_model: {error.message}; pull it first (`runnerd pull`)",
                param="speculative",
            ) from error

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
