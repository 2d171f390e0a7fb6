"""Running a trial: start the engine on each tiny model, under the rules for engines, and ask it.

An engine that answers takes well under a second for all of them.  Nothing is left, whichever way a
trial ends.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import shutil
import signal
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from runnerd import tasks, threads
from runnerd.backends.engine_http import ask, wait_ready
from runnerd.backends.llamacpp.failure import first_cause
from runnerd.backends.llamacpp.isolation import Isolation
from runnerd.backends.llamacpp.trial import models
from runnerd.backends.llamacpp.trial.verdicts import Verdict
from runnerd.backends.output import Output
from runnerd.backends.process import EngineProcess, ExitRecord
from runnerd.errors import BackendFailure
from runnerd.tasks import uninterrupted

log = logging.getLogger(__name__)

NO_REPACK = "--no-repack"  # leaves out the code for weights that were rearranged, AMX with it

_FAULTS = frozenset({signal.SIGILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE})
_TIMEOUT = 300.0  # of one model: a GPU's driver may compile code at its first start
_STOP_GRACE = 5.0
_TOKENS = 8
_BROKE_OFF = "the engine broke off"
_PROMPT = "ab " * 110  # 330 tokens: whole tiles of every kernel, and a rest


@dataclass(frozen=True, slots=True)
class Subject:
    """What is tried: a server, the options that it knows, and how engines are run here.

    `devices` says whether it has GPUs to compute on; then its code for the processor is tried too,
    which takes the layers that do not fit.
    """

    server: Path
    options: frozenset[str]
    environment: Mapping[str, str]
    isolation: Isolation
    devices: bool = False


@dataclass(frozen=True, slots=True)
class _Exercise:
    """One model and one question about it; `check` says whether the response is one."""

    name: str
    write: Callable[[Path], None]
    flags: tuple[str, ...]
    path: str
    body: dict[str, object]
    check: Callable[[dict[str, object]], bool]


def _generated(document: dict[str, object]) -> bool:
    return document.get("tokens_predicted") == _TOKENS


def _embedded(document: dict[str, object]) -> bool:
    data = document.get("data")
    entry = data[0] if isinstance(data, list) and data else None
    vector = entry.get("embedding") if isinstance(entry, dict) else None
    return (
        isinstance(vector, list)
        and len(vector) == models.WIDTH
        and all(isinstance(value, int | float) and math.isfinite(value) for value in vector)
        and any(vector)
    )


_COMPLETION: dict[str, object] = {
    "prompt": _PROMPT, "n_predict": _TOKENS, "temperature": 0, "ignore_eos": True,
}  # fmt: skip
_BATCH = str(models.CONTEXT)
_EXERCISES = (
    _Exercise("a decoder", models.write_decoder, (), "/completion", _COMPLETION, _generated),
    _Exercise("experts", models.write_experts, (), "/completion", _COMPLETION, _generated),
    _Exercise(
        "an encoder",
        models.write_encoder,
        ("--embeddings", "--batch-size", _BATCH, "--ubatch-size", _BATCH),
        "/v1/embeddings",
        {"input": "what it says does not matter " * 10},
        _embedded,
    ),
)


async def try_engine(subject: Subject) -> Verdict:
    """Load each tiny model and ask it.  Never raises for what an engine does.

    An engine that this processor does not run is tried once more without rearranging weights, which
    is where AMX is used: slower, but it answers.
    """
    verdict = await _try(subject, ())
    if verdict.state == "dies" and NO_REPACK in subject.options:
        careful = await _try(subject, (NO_REPACK,))
        if careful.state == "works":
            return replace(verdict, state="works", flags=(NO_REPACK,))
    return verdict


async def _try(subject: Subject, flags: tuple[str, ...]) -> Verdict:
    try:
        folder = await threads.run_or_undo(
            lambda: Path(tempfile.mkdtemp(prefix="rd-trial-")), undo=shutil.rmtree
        )
    except OSError as error:
        return Verdict("fails", f"no folder for a trial: {error.strerror}")
    try:
        for placing in ((), ("--device", "none")) if subject.devices else ((),):
            for exercise in _EXERCISES:
                verdict = await _exercise(subject, exercise, (*flags, *placing), folder)
                if verdict.state != "works":
                    return verdict
    except OSError as error:
        return Verdict("fails", f"no trial in {folder}: {error.strerror}")
    finally:
        await threads.run_to_end(shutil.rmtree, folder, ignore_errors=True)
    return Verdict("works", flags=flags)


async def _exercise(
    subject: Subject, exercise: _Exercise, flags: tuple[str, ...], folder: Path
) -> Verdict:
    model, socket = folder / "trial.gguf", folder / "trial.sock"
    await threads.run(socket.unlink, missing_ok=True)
    await threads.run(exercise.write, model)
    argv = [str(subject.server), *_arguments(subject.options, model, socket)]
    try:
        async with subject.isolation.of(
            subject.server, writes=[folder], sockets=[folder], devices=subject.devices
        ) as sandbox:
            process = EngineProcess.start(
                [*argv, *exercise.flags, *flags],
                output=Output(),
                environment=subject.environment,
                sandbox=sandbox,
            )
            return await _watched(process, exercise, socket)
    except BackendFailure as failure:
        return Verdict("fails", failure.message)


async def _watched(process: EngineProcess, exercise: _Exercise, socket: Path) -> Verdict:
    """Ask an engine that has just been started; it is gone when this returns."""
    question = tasks.spawn(_question(exercise, socket), name="question of a trial")
    end = tasks.spawn(process.wait(), name="end of a tried engine")
    try:
        await asyncio.wait({question, end}, timeout=_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
        if question.done() and (problem := question.result()) != _BROKE_OFF:
            return Verdict("fails", f"{exercise.name}: {problem}") if problem else Verdict("works")
        await asyncio.wait({end}, timeout=_STOP_GRACE)
        if end.done():
            return _judged(end.result(), exercise)
        return Verdict("fails", f"{exercise.name}: no answer within {_TIMEOUT:g} s")
    finally:
        await tasks.cancel_and_wait(question)
        await uninterrupted(process.stop(_STOP_GRACE), name="end of a tried engine")


def _arguments(options: frozenset[str], model: Path, socket: Path) -> Sequence[str]:
    page = next(([name] for name in ("--no-ui", "--no-webui") if name in options), [])
    offline = ["--offline"] if "--offline" in options else []
    return ["--host", str(socket), "--model", str(model), "--ctx-size", str(models.CONTEXT),
            "--parallel", "1", "--threads", "1", *page, *offline]  # fmt: skip


async def _question(exercise: _Exercise, socket: Path) -> str:
    """Ask the engine on a socket, and say what is wrong with the response; "" where it is sound."""
    await wait_ready(socket)
    try:
        status, content = await ask(socket, exercise.path, exercise.body)
    except OSError:
        return _BROKE_OFF
    if status != 200:
        return f"{exercise.path} answers {status}"
    try:
        document = json.loads(content)
    except ValueError:
        return _BROKE_OFF  # half a response
    if isinstance(document, dict) and exercise.check(document):
        return ""
    return f"{exercise.path} gives no sound answer"


def _judged(record: ExitRecord, exercise: _Exercise) -> Verdict:
    """Return the verdict on an engine that ended by itself."""
    if record.signal in _FAULTS:
        name = signal.Signals(record.signal).name
        return Verdict("dies", f"{name} with {exercise.name}", name)
    cause = first_cause(record.tail) or "it says nothing of why"
    return Verdict("fails", f"{exercise.name}: {record.reason}: {cause}")
