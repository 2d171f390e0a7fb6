"""What a runner will need: llama.cpp's own account, else an estimate from the GGUF header.

`llama-fit-params --fit-print on` prints, without loading weights, what each device would hold for
the model, the context and the computation.  It is corrected where it is known to err: it does not
see weights that are rearranged for the processor, nor the tokenizer, and of the buffers it reserves
for the processor most are never touched.  Where that tool is missing (the Python fallback, which
runs on the processor) all of it comes from the header (`footprint`).
"""

from __future__ import annotations

import itertools
import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runnerd.backends.commands import CommandResult, run_command
from runnerd.backends.configuration import BackendConfiguration, BackendMode
from runnerd.backends.interface import EngineFailure, RequiredMemory
from runnerd.backends.llamacpp.batches import PHYSICAL_BATCH
from runnerd.backends.llamacpp.devices import placement_flags
from runnerd.backends.llamacpp.failure import first_cause, last_lines
from runnerd.backends.llamacpp.flags import parse_flags, spelled
from runnerd.backends.llamacpp.footprint import (
    Workload,
    cache_bytes,
    output_bytes,
    shared_mask_bytes,
    vocabulary_bytes,
    working_bytes,
)
from runnerd.backends.llamacpp.isolation import files_of
from runnerd.backends.llamacpp.native_server import NativeServer
from runnerd.backends.llamacpp.projector import projector_memory
from runnerd.backends.llamacpp.server import ServerFinder
from runnerd.backends.llamacpp.serving import (
    Serving,
    draft_serving,
    model_serving,
)
from runnerd.backends.llamacpp.settings import LlamaCppSettings
from runnerd.backends.model_files import ModelFiles
from runnerd.errors import BackendFailure

log = logging.getLogger(__name__)

_MIB = 2**20
_TIMEOUT = 60.0
_ROUNDING = 2 * _MIB  # the tool rounds three figures down
_ROUNDING_OF_RAM = 1 * _MIB  # of two: what it lacks of the weights is unseen
_KEPT = 256  # answers; more than any host has models
_DEVICE = re.compile(r"^(\S+) (\d+) (\d+) (\d+)\s*$", re.MULTILINE)
_ON_HOST = ("Host", "CPU")
_NUMBER = re.compile(r"\d+$")
_RAM = "ram"


@dataclass(frozen=True, slots=True)
class _Question:
    weights: Path
    changed_at: int
    serving: Serving
    engine: str | None


@dataclass(frozen=True, slots=True)
class _Share:
    """What one device would hold, in bytes, as the tool tells it."""

    device: str
    model: int
    context: int
    compute: int


class MemoryEstimator:
    """Answers required_memory(); the same question about an unchanged file is asked once."""

    def __init__(self, finder: ServerFinder, settings: LlamaCppSettings) -> None:
        self._finder = finder
        self._settings = settings
        self._responses: dict[_Question, tuple[_Share, ...]] = {}

    async def required(
        self,
        files: Sequence[ModelFiles],
        configuration: BackendConfiguration,
        mode: BackendMode = BackendMode.COMPLETION,
    ) -> RequiredMemory:
        """What one runner of these models (the model, and a draft model) needs.

        Raises EngineFailure when a model cannot be read.
        """
        model, *drafts = files
        placing = await self._placing(configuration)
        serving = model_serving(model, configuration, mode, self._settings, placing)
        needs = [await self._one(model, serving, configuration.engine)]
        gpu = _projector_gpu(needs[0], configuration)
        try:
            needs.append(projector_memory(model, serving.load, gpu))
        except OSError as error:
            raise EngineFailure(f"the projector's file cannot be read: {error.strerror}") from error
        for draft in drafts:
            drafting = draft_serving(serving, configuration)
            needs.append(await self._one(draft, drafting, configuration.engine))
        return _sum(needs, self._settings.memory_reserve * _MIB)

    async def _one(self, files: ModelFiles, serving: Serving, engine: str | None) -> RequiredMemory:
        try:
            changed_at = files.weights.stat().st_mtime_ns
        except OSError as error:
            raise EngineFailure(f"the model's file cannot be read: {error.strerror}") from error
        question = _Question(files.weights, changed_at, serving, engine)
        if (known := self._responses.get(question)) is None:
            known = await self._ask(question, files)
            if len(self._responses) >= _KEPT:
                self._responses.clear()
            self._responses[question] = known
        return _corrected(known, files, serving.load) if known else estimate(files, serving.load)

    async def _placing(self, configuration: BackendConfiguration) -> list[str]:
        server = await self._server(configuration.engine)
        if server is None:
            return []
        return [*server.flags, *placement_flags(configuration.placement, server.devices)]

    async def _server(self, engine: str | None) -> NativeServer | None:
        return None if self._settings.server == "python" else await self._finder.find(engine)

    async def _ask(self, question: _Question, files: ModelFiles) -> tuple[_Share, ...]:
        """Return the tool's response, nothing where there is no tool or it cannot tell."""
        server = await self._server(question.engine)
        tool = None if server is None else server.fit_tool
        if server is None or tool is None:
            return ()
        flags = spelled(question.serving.flags, server.options, server.version)
        load = question.serving.load
        argv = [str(tool), "--model", str(question.weights), "--ctx-size", str(load.context)]
        argv += ["--parallel", str(load.slots)]  # each has its own sliding window
        if load.batch != PHYSICAL_BATCH:
            argv += ["--batch-size", str(load.batch), "--ubatch-size", str(load.batch)]
        try:
            async with self._finder.isolation.of(
                tool, reads=list(files_of(files)), devices=bool(server.devices)
            ) as sandbox:
                result = await run_command(
                    [*argv, *flags, "--fit-print", "on"],
                    timeout=_TIMEOUT,
                    environment=self._finder.environment(),
                    sandbox=sandbox,
                )
        except BackendFailure as failure:
            log.warning("%s", failure.message)
            return ()
        return _response(result)


def _sum(needs: Sequence[RequiredMemory], reserve: int) -> RequiredMemory:
    gpus = Counter[str]()
    for need in needs:
        gpus.update(dict(need.gpu_bytes))
    ram = reserve + sum(need.ram_bytes for need in needs)
    return RequiredMemory(ram, tuple(sorted(gpus.items())))


def _projector_gpu(model: RequiredMemory, configuration: BackendConfiguration) -> str | None:
    """Return where the projector goes: llama.cpp does not split it, the first GPU has all of it."""
    flags = parse_flags(configuration.runtime_flags)
    said = [flag for flag in flags if flag.endswith("mmproj-offload")]
    if not model.gpu_bytes or (said and said[-1] == "--no-mmproj-offload"):
        return None
    named = [value for name, value in itertools.pairwise(flags) if name == "--mmproj-device"]
    if named:
        return None if named[-1] == "none" else _device(named[-1])
    if configuration.placement and isinstance(configuration.placement.devices, tuple):
        return f"gpu{configuration.placement.devices[0]}"
    return model.gpu_bytes[0][0]


def _response(result: CommandResult) -> tuple[_Share, ...]:
    devices = _DEVICE.findall(result.output)
    if result.code == 0 and devices:
        return tuple(
            _Share(_device(name), *(int(size) * _MIB for size in sizes)) for name, *sizes in devices
        )
    cause = first_cause(result.output)
    if cause is None or cause.startswith("not enough"):
        log.warning("llama-fit-params could not tell (%s): %s", result.reason, cause)
        return ()
    raise EngineFailure(
        f"the model cannot be loaded: {cause}",
        exit_reason=result.reason,
        last_words=last_lines(result.output),
        loading=True,
    )


def _device(name: str) -> str:
    """Return our name of llama.cpp's device: `ram`, or `gpu1` for CUDA1 or Vulkan1."""
    if name.startswith(_ON_HOST):
        return _RAM
    number = _NUMBER.search(name)
    return f"gpu{number.group() if number else 0}"


def _corrected(shares: Sequence[_Share], files: ModelFiles, load: Workload) -> RequiredMemory:
    """Return the tool's account with what it leaves out, and without what is never touched."""
    host = [share for share in shares if share.device == _RAM]
    gpus = Counter[str]()
    mask = shared_mask_bytes(files.facts, load)  # the tool takes each slot to have its own cache
    for share in shares:
        if share.device != _RAM:
            gpus[share.device] += share.model + share.context + share.compute + mask + _ROUNDING
    # Weights that are rearranged for the processor are in none of the tool's lines.
    unseen = max(0, files.weights_bytes - sum(share.model for share in shares))
    context = sum(share.context for share in host)
    compute = sum(share.compute for share in host)
    if not gpus:
        if not load.embeds:  # the tool reserves for the outputs of a whole batch
            compute = min(compute + mask, working_bytes(files.facts, load) or compute)
        if files.facts.window_width:  # the tool gives each slot a window with room for a batch
            context = min(context, cache_bytes(files.facts, load))
    ram = sum(share.model for share in host) + context + unseen + compute
    ram += _ROUNDING_OF_RAM + vocabulary_bytes(files.facts) + output_bytes(files.facts, load)
    return RequiredMemory(ram, tuple(sorted(gpus.items())))


def estimate(files: ModelFiles, load: Workload) -> RequiredMemory:
    """Return an estimate from the header, all of it RAM."""
    facts = files.facts
    return RequiredMemory(
        files.weights_bytes
        + cache_bytes(facts, load)
        + working_bytes(facts, load)
        + output_bytes(facts, load)
        + vocabulary_bytes(facts)
    )
