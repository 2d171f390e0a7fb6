"""What a model was said to need, against what a running llama-server holds of it.

The server runs with the command line that runnerd gives it.  Held is its peak resident set when all
slots were in use, one of them with a prompt of several batches, less what the same program holds
with a model of next to nothing.  The weights are read, not mapped: of mapped ones the kernel counts
those that llama.cpp repacks for the processor twice.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bench import models
from bench.report import Report
from runnerd.backends.interface import BackendConfiguration, BackendMode, ModelFiles
from runnerd.backends.llamacpp.command import Launch, native_command
from runnerd.backends.llamacpp.memory import MemoryEstimator
from runnerd.backends.llamacpp.server import NativeServer, ServerFinder
from runnerd.backends.llamacpp.settings import parse_settings
from runnerd.models.description import facts
from runnerd.models.gguf import read_header
from runnerd.models.tiny import write_completion_model

_MIB = 2**20
_PROMPT = 1200  # tokens: more than two physical batches
_CASES = (("F16", 2048, 4), ("Q8_0", 2048, 1), ("Q8_0", 8192, 4), ("Q4_0", 8192, 16))
_ENCODER_CASES = (("F16", 512, 1), ("Q8_0", 512, 4))


@dataclass(frozen=True, slots=True)
class _Case:
    """A model as it is served."""

    files: ModelFiles
    mode: BackendMode
    slots: int
    configuration: BackendConfiguration

    @classmethod
    def of(cls, path: Path, mode: BackendMode, context: int, slots: int) -> _Case:
        asked = {"context-size": context, "runtime-flags": ["--parallel", str(slots)]}
        files = ModelFiles(path, path.stat().st_size, facts=facts(read_header(path)))
        return cls(files, mode, slots, BackendConfiguration.model_validate(asked))


def memory(report: Report, seconds: float) -> None:
    """Print the error of the tool's account and of the header's estimate."""
    del report, seconds  # a table of its own, and nothing to time
    asyncio.run(_all())


async def _all() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        finder = ServerFinder(parse_settings({}), folder)
        server = await finder.find()
        if server is None:
            print("no llama-server: nothing to compare with")
            return
        small = folder / "small.gguf"
        write_completion_model(small)
        own = await _held(server, _Case.of(small, BackendMode.COMPLETION, 512, 4))
        print(f"llama-server itself: {own / _MIB:.0f} MiB\n")
        print("| model | context, slots | held MiB | tool | header | header read |")
        print("|---|---|---|---|---|---|", flush=True)
        for shape in models.SHAPES:
            await _compare(finder, server, folder, shape, own)


async def _compare(
    finder: ServerFinder, server: NativeServer, folder: Path, shape: models.Shape, own: int
) -> None:
    """Print the lines of one model."""
    oracle = MemoryEstimator(finder, parse_settings({"memory_reserve": 0}))
    guess = MemoryEstimator(finder, parse_settings({"memory_reserve": 0, "server": "python"}))
    mode = BackendMode.EMBEDDING if shape.encodes else BackendMode.COMPLETION
    path = folder / "none"
    for quantization, context, slots in _ENCODER_CASES if shape.encodes else _CASES:
        if quantization not in path.name:
            path.unlink(missing_ok=True)
            path = models.write_quantized(server.path, folder, shape, quantization)
            path = path.rename(path.with_stem(f"{shape.architecture}-{quantization}"))
        began = time.perf_counter()
        case = _Case.of(path, mode, context, slots)
        read = time.perf_counter() - began
        held = await _held(server, case) - own
        told, guessed = [
            (await each.required([case.files], case.configuration, mode)).ram_bytes
            for each in (oracle, guess)
        ]
        print(
            f"| {shape.name} {quantization} | {context}, {slots} | {held / _MIB:.0f} "
            f"| {told / held - 1:+.1%} | {guessed / held - 1:+.1%} | {read * 1e3:.1f} ms |",
            flush=True,
        )
    path.unlink()


async def _held(server: NativeServer, case: _Case) -> int:
    """Return the peak resident bytes of a server that has answered a long prompt."""
    with _serving(server, case) as (process, socket):
        connector = aiohttp.UnixConnector(str(socket))
        async with aiohttp.ClientSession("http://engine", connector=connector) as http:
            await _ready(http, process)
            context = case.configuration.context_size or _PROMPT
            lengths = [min(_PROMPT, context // 2), *[8] * (case.slots - 1)]
            await asyncio.gather(*(_ask(http, case.mode, length) for length in lengths))
        status = Path(f"/proc/{process.pid}/status").read_text()
        return next(
            int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")
        )


async def _ask(http: aiohttp.ClientSession, mode: BackendMode, length: int) -> None:
    """Send a prompt of so many tokens; all slots are to be in use at once."""
    prompt = [10 + number % 200 for number in range(length)]
    body: dict[str, object] = {"prompt": prompt, "n_predict": 32, "ignore_eos": True}
    path = "/completion"
    if mode is BackendMode.EMBEDDING:
        body, path = {"input": prompt}, "/v1/embeddings"
    async with http.post(path, data=json.dumps(body)) as answer:
        answer.raise_for_status()
        await answer.read()


@contextmanager
def _serving(server: NativeServer, case: _Case) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    socket = case.files.weights.with_suffix(".sock")
    launch = Launch(socket, "bench", case.files, None, case.mode, case.configuration)
    argv = native_command(server, launch, parse_settings({}))
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        [*argv, "--kv-unified", "--load-mode", "none"], stdout=quiet, stderr=quiet
    )
    try:
        yield process, socket
    finally:
        process.kill()
        process.wait()
        socket.unlink(missing_ok=True)


async def _ready(http: aiohttp.ClientSession, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            async with http.get("/health") as answer:
                if answer.status == 200:
                    return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.05)
    raise RuntimeError(f"llama-server ended with status {process.returncode}")
