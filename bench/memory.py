"""What a model was said to need, against what a running llama-server holds of it (`holding`).

From that is taken what the same program holds with a model of next to nothing.
"""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bench import models, projectors, shapes
from bench.architectures import write
from bench.holding import Case, held, model_files, served
from bench.report import Report
from runnerd.backends.configuration import BackendMode
from runnerd.backends.llamacpp.memory import MemoryEstimator
from runnerd.backends.llamacpp.native_server import NativeServer
from runnerd.backends.llamacpp.server import ServerFinder
from runnerd.backends.llamacpp.settings import parse_settings
from runnerd.models.tiny import write_completion_model

_MIB = 2**20
_CASES = (("F16", 2048, 4), ("Q8_0", 2048, 1), ("Q8_0", 8192, 4), ("Q4_0", 8192, 16))
_ENCODER_CASES = (("F16", 512, 1), ("Q8_0", 512, 4))
_LONG = (("F16", 8192, 4, False), ("Q8_0", 1024, 2, True))  # context of each slot; filled or not
_ENCODERS = (("F16", 2048, 1, False), ("Q8_0", 512, 4, False))
_FULL = 32768  # tokens
_NARROW = {
    "vocab_size": 2000, "embedding_length": 128, "block_count": 1, "feed_forward_length": 128,
    "attention.head_count": 2, "attention.head_count_kv": 1,
}  # fmt: skip
_SEEING, _DRAFTED = models.SHAPES[0], models.SHAPES[1]
_SEEING_CONTEXT = 8192
_DRAFTING_CASES = (
    (2048, 1, ()),
    (8192, 4, ()),
    (8192, 4, ("--cache-type-k", "q8_0", "--cache-type-v", "q8_0")),
)


def memory(report: Report, seconds: float) -> None:
    """Print the error of the tool's account and of the header's estimate."""
    del report, seconds  # a table of its own, and nothing to time
    asyncio.run(_all(_named))


def architectures(report: Report, seconds: float) -> None:
    """Print the same for every architecture that llama.cpp can build a model of."""
    del report, seconds
    asyncio.run(_all(_architectures))


@dataclass(frozen=True, slots=True)
class _Bench:
    """The server that is looked at, what it holds of nothing, and who foretells the rest."""

    server: NativeServer
    folder: Path
    own: int
    oracle: MemoryEstimator
    guess: MemoryEstimator

    async def line(self, name: str, case: Case) -> None:
        """Print one case's line."""
        began = time.perf_counter()
        model_files(case.files.weights, case.files.mmproj)
        read = time.perf_counter() - began
        seen = await held(self.server, case) - self.own
        told, guessed = [
            (await each.required(case.all_files, case.configuration, case.mode)).ram_bytes
            for each in (self.oracle, self.guess)
        ]
        print(
            f"| {name} | {case.configuration.context_size}, {case.slots} | {seen / _MIB:.0f} "
            f"| {told / seen - 1:+.1%} | {guessed / seen - 1:+.1%} | {read * 1e3:.1f} ms |",
            flush=True,
        )


async def _all(measure: Callable[[_Bench], Awaitable[None]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        finder = ServerFinder(parse_settings({}), folder)
        server = await finder.find()
        if server is None:
            print("no llama-server: nothing to compare with")
            return
        small = folder / "small.gguf"
        write_completion_model(small)
        own = await held(server, _case(small, 512, 4))
        print(f"llama-server itself: {own / _MIB:.0f} MiB\n")
        print("| model | context, slots | held MiB | tool | header | header read |")
        print("|---|---|---|---|---|---|", flush=True)
        oracle = MemoryEstimator(finder, parse_settings({"memory_reserve": 0}))
        guess = MemoryEstimator(finder, parse_settings({"memory_reserve": 0, "server": "python"}))
        bench = _Bench(server, folder, own, oracle, guess)
        await measure(bench)


async def _named(bench: _Bench) -> None:
    for shape in models.SHAPES:
        await _model(bench, shape)
    await _seeing(bench)
    await _drafting(bench)


async def _architectures(bench: _Bench) -> None:
    """Print two lines for each, F16 with a long context and Q8_0 with a shorter one; before them
    those of a model that is narrow enough to have its context filled.
    """
    narrow = bench.folder / "narrow.gguf"
    write(narrow, "llama", shapes.numbers("llama") | _NARROW)
    for prompt in (0, _FULL):
        case = replace(_case(narrow, _FULL, 1), prompt=prompt)
        await bench.line(f"llama, 128 wide, context {'full' if prompt else 'not full'}", case)
    for name, experts in shapes.everything():
        source, kept = bench.folder / "source.gguf", bench.folder / "model.gguf"
        encodes = name in shapes.ENCODERS
        numbers = shapes.encoder(name) if encodes else shapes.numbers(name, experts=experts)
        mode = BackendMode.EMBEDDING if encodes else BackendMode.COMPLETION
        try:
            write(source, name, numbers)
            for quantization, context, slots, full in _ENCODERS if encodes else _LONG:
                models.quantize(bench.server.path, source, kept, quantization)
                case = replace(_case(kept, context, slots, mode), full=full)
                await bench.line(f"{name}{' MoE' if experts else ''} {quantization}", case)
        except (subprocess.CalledProcessError, RuntimeError) as error:
            print(f"| {name} | not measured: {_last_words(error)} |", flush=True)
        finally:
            source.unlink(missing_ok=True)
            kept.unlink(missing_ok=True)


def _last_words(error: Exception) -> str:
    if not isinstance(error, subprocess.CalledProcessError):
        return str(error)
    text: str = error.stderr.decode(errors="replace").strip()
    lines = text.splitlines() or [str(error)]
    return next((line for line in reversed(lines) if "error" in line), lines[-1])


def _case(path: Path, context: int, slots: int, mode: BackendMode = BackendMode.COMPLETION) -> Case:
    return Case(model_files(path), mode, slots, served(context, slots))


async def _model(bench: _Bench, shape: models.Shape) -> None:
    """Print the lines of one model."""
    mode = BackendMode.EMBEDDING if shape.encodes else BackendMode.COMPLETION
    path = bench.folder / "none"
    for quantization, context, slots in _ENCODER_CASES if shape.encodes else _CASES:
        if quantization not in path.name:
            path.unlink(missing_ok=True)
            path = models.write_quantized(bench.server.path, bench.folder, shape, quantization)
            path = path.rename(path.with_stem(f"{shape.architecture}-{quantization}"))
        await bench.line(f"{shape.name} {quantization}", _case(path, context, slots, mode))
    path.unlink()


async def _seeing(bench: _Bench) -> None:
    """Print the lines of a model that sees or hears."""
    path = models.write_quantized(bench.server.path, bench.folder, _SEEING, "Q8_0")
    mmproj = bench.folder / "mmproj.gguf"
    for shape, slots, flags in projectors.CASES:
        projectors.write_projector(mmproj, shape, _SEEING.width)
        configuration = served(_SEEING_CONTEXT, slots, flags)
        case = Case(model_files(path, mmproj), BackendMode.COMPLETION, slots, configuration)
        name = f"{_SEEING.name} Q8_0 + {shape.name} {' '.join(flags)}"
        await bench.line(name.strip(), replace(case, image=shape.largest))
        mmproj.unlink()
    path.unlink()


async def _drafting(bench: _Bench) -> None:
    """Print the lines of a model with a draft model."""
    path = models.write_quantized(bench.server.path, bench.folder, _DRAFTED, "Q8_0")
    draft = bench.folder / "draft.gguf"
    models.write_f16(draft, models.DRAFT)
    for context, slots, flags in _DRAFTING_CASES:
        configuration = served(context, slots, flags, draft="draft")
        case = Case(model_files(path), BackendMode.COMPLETION, slots, configuration)
        name = f"{_DRAFTED.name} Q8_0 + draft {models.DRAFT.name} F16 {' '.join(flags)}"
        await bench.line(name.strip(), replace(case, draft=model_files(draft)))
    path.unlink()
    draft.unlink()
