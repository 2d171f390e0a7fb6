"""What a running llama-server holds of a model when everything that it was given is in use.

The server runs with the command line that runnerd gives it.  Held is its peak resident set when all
slots were in use, one of them with a prompt of several batches, and then each with an image or a
sound as large as the projector takes.  The weights are read, not mapped: of mapped ones the kernel
counts those that llama.cpp repacks for the processor twice.
"""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bench.inputs import image, sound
from runnerd.backends.configuration import BackendConfiguration, BackendMode
from runnerd.backends.llamacpp.command import Launch, native_command
from runnerd.backends.llamacpp.native_server import NativeServer
from runnerd.backends.llamacpp.settings import parse_settings
from runnerd.backends.model_files import ModelFiles
from runnerd.models.description import facts
from runnerd.models.gguf import read_header
from runnerd.models.multimodal import senses

_PROMPT = 1200  # tokens: more than two physical batches
_GENERATED = 8  # tokens
_SECONDS = 29  # of a sound: one piece
_NO_LIMIT = aiohttp.ClientTimeout(total=None)


@dataclass(frozen=True, slots=True)
class Case:
    """A model as it is served, maybe with a draft model.

    `image` is the size of the images, `prompt` how many tokens the longest prompt has (0: the usual
    number); with `full` each slot gets one that fills its context.  A text to embed has as many
    tokens as fit.
    """

    files: ModelFiles
    mode: BackendMode
    slots: int
    configuration: BackendConfiguration
    draft: ModelFiles | None = None
    image: tuple[int, int] = (0, 0)
    prompt: int = 0
    full: bool = False

    @property
    def all_files(self) -> list[ModelFiles]:
        """The model, and the draft model."""
        return [self.files] if self.draft is None else [self.files, self.draft]


def model_files(path: Path, mmproj: Path | None = None) -> ModelFiles:
    """Return what the store would say of a model in these files."""
    perceived = senses(read_header(mmproj)) if mmproj else ()
    size = path.stat().st_size
    return ModelFiles(path, size, mmproj, facts=facts(read_header(path)), senses=perceived)


def served(
    context: int, slots: int, flags: Sequence[str] = (), *, draft: str | None = None
) -> BackendConfiguration:
    """Return a configuration."""
    asked: dict[str, object] = {
        "context-size": context,
        "runtime-flags": ["--parallel", str(slots), *flags],
    }
    if draft is not None:
        asked["speculative"] = {"draft_model": draft}
    return BackendConfiguration.model_validate(asked)


async def held(server: NativeServer, case: Case) -> int:
    """Return the peak resident bytes of a server that has answered everything."""
    with _serving(server, case) as (process, socket):
        connector = aiohttp.UnixConnector(str(socket))
        async with aiohttp.ClientSession(
            "http://engine", connector=connector, timeout=_NO_LIMIT
        ) as http:
            await _ready(http, process)
            await asyncio.gather(*(_ask(http, case.mode, length) for length in _lengths(case)))
            if case.files.senses:
                await asyncio.gather(*(_show(http, case, slot) for slot in range(case.slots)))
        status = Path(f"/proc/{process.pid}/status").read_text()
        return next(
            int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")
        )


def _lengths(case: Case) -> list[int]:
    """Return how long the prompts are, one for each slot."""
    context = case.configuration.context_size or _PROMPT
    longest = context - _GENERATED
    if case.full:
        return [longest] * case.slots
    if case.mode is BackendMode.EMBEDDING:
        return [context, *[8] * (case.slots - 1)]
    return [min(case.prompt or _PROMPT, longest), *[8] * (case.slots - 1)]


async def _ask(http: aiohttp.ClientSession, mode: BackendMode, length: int) -> None:
    """Send a prompt of so many tokens; all slots are to be in use at once."""
    prompt = [10 + number % 200 for number in range(length)]
    body: dict[str, object] = {"prompt": prompt, "n_predict": _GENERATED, "ignore_eos": True}
    path = "/completion"
    if mode is BackendMode.EMBEDDING:
        body, path = {"input": prompt}, "/v1/embeddings"
    await _post(http, path, body)


async def _show(http: aiohttp.ClientSession, case: Case, number: int) -> None:
    """Send an image or a sound; each is another one, else the engine would know it."""
    hears = case.files.senses[0].hears
    part = sound(_SECONDS, number) if hears else image(*case.image, number)
    messages = [{"role": "user", "content": [part, {"type": "text", "text": "What is it?"}]}]
    await _post(http, "/v1/chat/completions", {"messages": messages, "max_tokens": 8})


async def _post(http: aiohttp.ClientSession, path: str, body: dict[str, object]) -> None:
    content = io.BytesIO(json.dumps(body).encode())  # aiohttp warns of large bodies in one piece
    async with http.post(path, data=content) as response:
        if not response.ok:
            raise RuntimeError(f"llama-server answered {response.status}: {await response.text()}")
        await response.read()


@contextmanager
def _serving(server: NativeServer, case: Case) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    socket = case.files.weights.with_suffix(".sock")
    launch = Launch(socket, "bench", case.files, case.draft, case.mode, case.configuration)
    argv = native_command(server, launch, parse_settings({"prompt_cache": 0}))
    quiet = subprocess.DEVNULL
    process = subprocess.Popen([*argv, "--load-mode", "none"], stdout=quiet, stderr=quiet)
    try:
        yield process, socket
    finally:
        process.kill()
        process.wait()
        socket.unlink(missing_ok=True)


async def _ready(http: aiohttp.ClientSession, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            async with http.get("/health") as response:
                if response.status == 200:
                    return
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.05)
    raise RuntimeError(f"llama-server ended with status {process.returncode}")
