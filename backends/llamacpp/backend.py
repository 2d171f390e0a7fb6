"""LlamaCppBackend: the Backend contract, carried out with llama.cpp.

Which engine runs is `engine_choice`, one run is `engine_runs`, what a run is started for is
`launches`, and what engines keep between their lives is `slot_saving`.
"""

from __future__ import annotations

from pathlib import Path

import aiohttp

from runnerd.backends.configuration import BackendConfiguration, BackendMode
from runnerd.backends.interface import BackendContext, RequiredMemory
from runnerd.backends.llamacpp.command import context_tokens, slot_counts
from runnerd.backends.llamacpp.devices import check_devices, check_placement, placement_flags
from runnerd.backends.llamacpp.engine_choice import NAME, EngineChoice
from runnerd.backends.llamacpp.engine_runs import EngineRuns
from runnerd.backends.llamacpp.fallback import NO_DRAFTS
from runnerd.backends.llamacpp.flags import extends_context, parse_flags, spelled
from runnerd.backends.llamacpp.footprint import cache_bytes
from runnerd.backends.llamacpp.launches import Launches, engine_socket
from runnerd.backends.llamacpp.memory import MemoryEstimator
from runnerd.backends.llamacpp.quantize import Quantizer
from runnerd.backends.llamacpp.serving import model_serving
from runnerd.backends.llamacpp.settings import parse_settings
from runnerd.backends.llamacpp.slot_saving import SlotSaving
from runnerd.errors import BackendFailure, InvalidConfiguration


class LlamaCppBackend(SlotSaving):
    """Runs models on llama.cpp.  Constructed once per daemon; see `interface.Backend`."""

    def __init__(self, context: BackendContext) -> None:
        self._settings = settings = parse_settings(context.settings)
        engines = EngineChoice(settings, context.state_dir)
        launches = Launches(context)
        super().__init__(context, engines, launches)
        self._runs = EngineRuns(settings, context, engines, launches)
        self._memory = MemoryEstimator(engines.finder, settings)
        self._quantizer = Quantizer(engines.finder, settings)

    @property
    def name(self) -> str:
        return NAME

    @property
    def uses_external_model_management(self) -> bool:
        return False

    @property
    def streams_to_cancel(self) -> bool:
        # The fallback's streams carry no usage: no whole response could be put together from one.
        return self._engines.is_native

    def engine_socket(self, socket: Path) -> Path:
        return engine_socket(socket)

    def unsupported_reason(self, operation: str, mode: BackendMode) -> str | None:
        return self._engines.unsupported_reason(operation, mode)

    def slots(self, config: BackendConfiguration) -> tuple[int, ...]:
        if not self._engines.is_native:
            return (1,)
        return slot_counts(config, self._settings)

    def context(self, model: str, config: BackendConfiguration) -> int:
        return context_tokens(self._context.resolver.resolve(model), config, self._settings)

    async def check_configuration(
        self, model: str, config: BackendConfiguration, mode: BackendMode = BackendMode.COMPLETION
    ) -> None:
        flags = parse_flags(config.runtime_flags)
        check_placement(config, flags)
        self._launches.check_draft(config)
        try:
            server = await self._engines.server(config)
        except BackendFailure as failure:
            if config.engine is not None:
                raise InvalidConfiguration(failure.message, param="engine") from failure
            return  # `runnerd doctor` tells of it
        if server is None:
            if config.speculative is not None:
                raise InvalidConfiguration(NO_DRAFTS, param="speculative")
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
        launch = self._launches.of(socket, model, model_ref, mode, config)
        await self._runs.run(socket, model, launch, ram_limit)

    def crowded(self, socket: Path, is_crowded: bool) -> None:
        self._runs.crowded(socket, is_crowded)

    def engine(self, socket: Path) -> str:
        return self._runs.engine(socket)

    async def install(self, http: aiohttp.ClientSession) -> None:
        await self._engines.install(http)

    async def prepare(self) -> None:
        await self._engines.prepare()

    def status(self) -> str:
        return self._engines.status()

    async def disk_usage(self) -> int:
        return await self._engines.disk_usage()

    async def required_memory(
        self, model: str, config: BackendConfiguration, mode: BackendMode = BackendMode.COMPLETION
    ) -> RequiredMemory:
        files = [self._context.resolver.resolve(model)]
        if config.speculative is not None:
            files.append(self._context.resolver.resolve(config.speculative.draft_model))
        return await self._memory.required(files, config, mode)

    async def quantize(self, source: Path, target: Path, kind: str) -> None:
        await self._quantizer.quantize(source, target, kind)
