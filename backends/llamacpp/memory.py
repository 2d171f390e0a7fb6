"""What a runner will need: llama.cpp's own account, else an estimate from the GGUF header.

`llama-fit-params --fit-print on` prints, without loading weights, what each device would hold for
the model, the context and the computation.  Where that tool is missing (the Python fallback, which
runs on the processor) the header gives weights plus KV cache plus a guess for the buffers.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runnerd.backends.interface import (
    BackendConfiguration,
    EngineFailure,
    ModelFacts,
    ModelFiles,
    RequiredMemory,
)
from runnerd.backends.llamacpp.command import context_tokens, slot_count
from runnerd.backends.llamacpp.failure import first_cause, last_lines
from runnerd.backends.llamacpp.flags import parse_flags
from runnerd.backends.llamacpp.server import ServerFinder
from runnerd.backends.llamacpp.settings import LlamaCppSettings
from runnerd.backends.process import CommandResult, run_command
from runnerd.errors import BackendFailure

log = logging.getLogger(__name__)

_MIB = 2**20
_TIMEOUT = 60.0
_KEPT = 256  # answers; more than any host has models
_DEVICE = re.compile(r"^(\S+) (\d+) (\d+) (\d+)\s*$", re.MULTILINE)
_ON_HOST = ("Host", "CPU")
_NUMBER = re.compile(r"\d+$")
_RAM = "ram"
_PHYSICAL_BATCH = 512  # llama.cpp's default
_F16 = 2

# What changes the account; the tool refuses flags that only the server has.
_FLAGS_THAT_COUNT = frozenset({
    "--batch-size", "--ubatch-size", "--cache-type-k", "--cache-type-v", "--kv-offload",
    "--no-kv-offload", "--swa-full", "--n-gpu-layers", "--split-mode", "--tensor-split",
    "--main-gpu",
    "--device", "--flash-attn", "--fit", "--fit-target", "--fit-ctx", "--load-mode", "--cpu-moe",
    "--n-cpu-moe", "--n-cpu-ffn", "--no-repack", "--no-op-offload", "--no-host",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Question:
    weights: Path
    changed_at: int
    context: int
    slots: int
    flags: tuple[str, ...]


class MemoryEstimator:
    """Answers required_memory(); the same question about an unchanged file is asked once."""

    def __init__(self, finder: ServerFinder, settings: LlamaCppSettings) -> None:
        self._finder = finder
        self._settings = settings
        self._answers: dict[_Question, RequiredMemory] = {}

    async def required(
        self, files: Sequence[ModelFiles], configuration: BackendConfiguration
    ) -> RequiredMemory:
        """Return what one runner of these models (the model, and a draft model) needs.

        Raises EngineFailure when a model cannot be read.
        """
        ram, gpus = self._settings.memory_reserve * _MIB, Counter[str]()
        for each in files:
            found = await self._one(each, configuration)
            ram += found.ram_bytes
            gpus.update(dict(found.gpu_bytes))
            projector = 0 if each.mmproj is None else each.mmproj.stat().st_size
            if found.gpu_bytes:  # llama.cpp does not split it: the first GPU has all of it
                gpus[found.gpu_bytes[0][0]] += projector
            else:
                ram += projector
        return RequiredMemory(ram, tuple(sorted(gpus.items())))

    async def _one(self, files: ModelFiles, configuration: BackendConfiguration) -> RequiredMemory:
        context = context_tokens(files, configuration, self._settings)
        try:
            changed_at = files.weights.stat().st_mtime_ns
        except OSError as error:
            raise EngineFailure(f"the model's file cannot be read: {error.strerror}") from error
        flags = tuple(_flags_that_count(configuration))
        slots = slot_count(configuration, self._settings)
        question = _Question(files.weights, changed_at, context, slots, flags)
        if (known := self._answers.get(question)) is None:
            known = await self._ask(question)
            known = estimate(files, context) if known is None else known
            if len(self._answers) >= _KEPT:
                self._answers.clear()
            self._answers[question] = known
        return known

    async def _ask(self, question: _Question) -> RequiredMemory | None:
        """Return the tool's answer, None where there is no tool or it cannot tell."""
        server = None if self._settings.server == "python" else await self._finder.find()
        tool = None if server is None else server.fit_tool
        if tool is None:
            return None
        argv = [str(tool), "--model", str(question.weights), "--ctx-size", str(question.context)]
        argv += ["--parallel", str(question.slots)]  # each has its own sliding window
        try:
            result = await run_command(
                [*argv, *question.flags, "--fit-print", "on"],
                timeout=_TIMEOUT,
                environment=self._finder.environment(),
                deny_network=self._settings.sandbox,
            )
        except BackendFailure as failure:
            log.warning("%s", failure.message)
            return None
        return _answer(result)


def _flags_that_count(configuration: BackendConfiguration) -> list[str]:
    """Return the canonical runtime flags that the tool understands, with their values."""
    kept: list[str] = []
    keep = False
    for token in parse_flags(configuration.runtime_flags):
        if token.startswith("--"):
            keep = token in _FLAGS_THAT_COUNT
        if keep:
            kept.append(token)
    return kept


def _answer(result: CommandResult) -> RequiredMemory | None:
    devices = _DEVICE.findall(result.output)
    if result.code == 0 and devices:
        held = Counter[str]()
        for name, *sizes in devices:
            total = (sum(map(int, sizes)) + 1) * _MIB  # the tool rounds down
            held[_device(name)] += total
        ram = held.pop(_RAM, 0)
        return RequiredMemory(ram, tuple(sorted(held.items())))
    cause = first_cause(result.output)
    if cause is None or cause.startswith("not enough"):
        log.warning("llama-fit-params could not tell (%s): %s", result.reason, cause)
        return None
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


def estimate(files: ModelFiles, context: int) -> RequiredMemory:
    """Return an estimate from the header, all of it RAM."""
    facts = files.facts
    tokens = context or facts.context_length
    cache = tokens * cache_bytes_per_token(facts)
    batch = min(_PHYSICAL_BATCH, tokens or _PHYSICAL_BATCH)
    buffers = batch * 4 * (facts.vocabulary_size + 8 * facts.embedding_length)
    return RequiredMemory(files.weights_bytes + cache + buffers)


def cache_bytes_per_token(facts: ModelFacts) -> int:
    """Return what K and V of one token take in all blocks."""
    return facts.block_count * _cache_width(facts) * _F16


def _cache_width(facts: ModelFacts) -> int:
    """Return the elements of K and V that one token takes in one block."""
    heads = facts.head_count_kv or facts.head_count
    width = facts.embedding_length // facts.head_count if facts.head_count else 0
    return heads * ((facts.key_length or width) + (facts.value_length or width))
