"""The contract between runnerd and an inference engine.

It is Docker Model Runner's `inference.Backend` (seed 004) as a `typing.Protocol`, with the same
verbs and the same JSON names in the configuration.  A backend learns where a model's files are
from the `ModelResolver` it was constructed with, so this room knows nothing of the store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import aiohttp

from runnerd.backends.configuration import BackendConfiguration, BackendMode
from runnerd.backends.model_files import ModelResolver
from runnerd.errors import BackendFailure


@dataclass(frozen=True, slots=True)
class RequiredMemory:
    """Working memory that a runner needs, in bytes: in RAM, and on each GPU that it would use.

    `gpu_bytes` names GPUs as runnerd.resources does (`gpu0`, `gpu1` ...), each once.
    """

    ram_bytes: int
    gpu_bytes: tuple[tuple[str, int], ...] = ()


class EngineFailure(BackendFailure):
    """An engine ended or could not start.

    `exit_reason` says how ("exit status 1", "killed by SIGSEGV", ...), `last_words` are its last
    log lines (already without secrets), `loading` whether it had not been ready yet,
    `out_of_memory` whether that was for want of memory.

    What `run` raises is told of an engine that served, `load_message` is what to say instead if it
    never was ready: only whoever asked it knows which, an engine may end before it has said so.
    """

    code = "engine_failure"

    def __init__(
        self,
        message: str,
        *,
        exit_reason: str = "",
        last_words: str = "",
        loading: bool = False,
        out_of_memory: bool = False,
        load_message: str = "",
    ) -> None:
        super().__init__(message)
        self.exit_reason = exit_reason
        self.last_words = last_words
        self.loading = loading
        self.out_of_memory = out_of_memory
        self._load_message = load_message or message

    def while_loading(self) -> EngineFailure:
        """Return this failure as that of an engine that never was ready."""
        return EngineFailure(
            self._load_message,
            exit_reason=self.exit_reason,
            last_words=self.last_words,
            loading=True,
            out_of_memory=self.out_of_memory,
        )


class Backend(Protocol):
    """A kind of inference server.  All methods run on the event loop and never block it."""

    @property
    def name(self) -> str:
        """Lower case, usable in a URL path and in a socket's file name."""
        ...

    @property
    def uses_external_model_management(self) -> bool:
        """Whether the backend keeps its models itself instead of using the shared store.

        Then a model's name is its id, and every method gets it as the client wrote it; `context`
        says which there are.
        """
        ...

    async def install(self, http: aiohttp.ClientSession) -> None:
        """Make the engine exist; return at once where it does.

        Progress shows in `status()`.  All HTTP goes through `http`.  Concurrent calls share one
        installation; cancelling the last caller cancels it.  Raises errors.BackendFailure.
        """
        ...

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
        """Serve one model on the Unix socket `socket` until the engine fails or we are cancelled.

        `ram_limit` is how many bytes of RAM of its own the engine can come to at most: what it asks
        for beyond fails, in it and nowhere else.

        One-shot: it never restarts anything.  It returns only by raising: EngineFailure when the
        engine failed, CancelledError when cancelled, and by then every process it spawned is gone
        and its sockets are removed.  `GET /health` on the socket answers 503 while the model loads
        and 200 once it is ready; nothing answers before the engine listens.  A request whose
        `model` names another model than `model` (an id, or a load), `model_ref` (what the user
        typed) or one with the same load gets 421.  Whether an engine that failed had been ready the
        caller says (`EngineFailure.while_loading`).
        """
        ...

    def engine_socket(self, socket: Path) -> Path:
        """Return where the engine of a run on `socket` listens itself, behind the guard.

        For a caller that has made the 421 decision already and wants no second one.  A backend
        without a guard returns `socket`.
        """
        ...

    def unsupported_reason(self, operation: str, mode: BackendMode) -> str | None:
        """Return why this backend cannot do `operation` in `mode`, with the remedy, or None.

        `operation` is the path behind /v1/, such as "chat/completions", "rerank" or "responses".
        """
        ...

    @property
    def streams_to_cancel(self) -> bool:
        """Whether the engine notices a vanished client only while it streams.

        The relay then asks for a stream even where the client did not, and puts the response
        together.
        """
        ...

    def slots(self, config: BackendConfiguration) -> tuple[int, ...]:
        """Return how many requests at a time a runner can be started for, the most first; nothing
        where that has no limit.

        Each of them has the whole context for itself.  Which number a runner is started with is
        said to it as `parallel`; where `config` says that, it is the only one.
        """
        ...

    def context(self, model: str, config: BackendConfiguration) -> int:
        """Return the tokens of context that each request has, 0 where the engine decides.

        Raises errors.ModelNotFound, InvalidModelFile.
        """
        ...

    def status(self) -> str:
        """Return `Running`, `Not Installed`, `Installing` or `Error`, optionally `: details`.

        The words are the ones that the `docker model` client splits on.
        """
        ...

    async def disk_usage(self) -> int:
        """Return the bytes that the backend's own files occupy (not the models)."""
        ...

    async def required_memory(
        self, model: str, config: BackendConfiguration, mode: BackendMode = BackendMode.COMPLETION
    ) -> RequiredMemory:
        """What a runner of this model would need.

        Raises errors.ModelNotFound, EngineFailure when the model cannot be read.
        """
        ...

    async def check_configuration(
        self, model: str, config: BackendConfiguration, mode: BackendMode = BackendMode.COMPLETION
    ) -> None:
        """Raise errors.InvalidConfiguration for what is not allowed, or cannot be loaded here.

        The message names the flag or field, the reason and what is allowed.  What is in force is
        not looked at again when a model is loaded: what is missing then fails the load.
        """
        ...

    def doubt(self, model: str, config: BackendConfiguration) -> str | None:
        """What is unwise about a configuration that is allowed all the same, in a sentence.

        None where there is nothing to say.  Raises errors.ModelNotFound, InvalidModelFile.
        """
        ...

    def least_memory(
        self, model: str, config: BackendConfiguration, mode: BackendMode = BackendMode.COMPLETION
    ) -> int:
        """Return bytes that a runner takes at the very least, wherever they lie: what cannot be
        read again from the model's file.  Cheap, and 0 where nothing can be said.

        Raises errors.ModelNotFound, InvalidModelFile.
        """
        ...


@runtime_checkable
class Quantizing(Protocol):
    """What a backend offers beside its contract if it can make weights smaller."""

    async def quantize(self, source: Path, target: Path, kind: str) -> None:
        """Write the weights in `source` to `target`, quantized as `kind` says (`Q4_K_M`).

        Raises errors.ClientError for an unknown kind, NotSupported where the tool is missing,
        BackendFailure with the tool's words.  Cancelling ends it; the caller removes `target`.
        """
        ...


@runtime_checkable
class NamingEngines(Protocol):
    """What a backend offers beside its contract if it has several kinds of engines."""

    def engine(self, socket: Path) -> str:
        """Which engine the run on `socket` has, for people; "" where there is none (any more)."""
        ...


@runtime_checkable
class Preparing(Protocol):
    """What a backend offers that looks at its engine before the first request needs it."""

    async def prepare(self) -> None:
        """Look at the engine and log what its owner should know; never raises for what it finds.

        Runs beside requests once the daemon serves; may be cancelled.
        """
        ...


Headers = Sequence[tuple[bytes, bytes]]

Admit = Callable[[str, int | None, Headers], None]
"""Raises errors.Unauthorized, Forbidden or NotFound for who may not use a runner's own socket: of a
model or a load, by user id (None: unknown) and the headers of the request, names in lower case.
"""


def admit_everybody(model: str, uid: int | None, headers: Headers) -> None:
    """Leave it to the socket's file mode, which lets its owner alone connect."""


@dataclass(frozen=True, slots=True)
class BackendContext:
    """What a backend is constructed with: `factory(context)`, found by entry point.

    `state_dir` is the backend's own folder for engines it installs, `log_dir` takes engine logs
    (`<socket stem>.log`, rotated by size), `settings` is its own table of the configuration file,
    `slots_dir` is where engines may write down what they have evaluated (None: nowhere).
    `admit` decides who may use a runner's own socket; `routes` are the paths that can be posted to
    there, each with the engine's own path for it.
    """

    resolver: ModelResolver
    state_dir: Path
    log_dir: Path
    settings: dict[str, object]
    slots_dir: Path | None = None
    admit: Admit = admit_everybody
    routes: Mapping[str, str] = field(default_factory=dict)
