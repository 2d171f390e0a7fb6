"""One model server's life.  The only state machine with an operating-system process behind it.

    state      means                                              goes to
    STARTING   the backend runs, the engine does not answer yet   READY, STOPPING, FAILED
    READY      the engine says so (backends.health)               STOPPING, FAILED
    STOPPING   cancelled; its processes are being ended           STOPPED
    STOPPED    ended because it was asked to, and only then       -
    FAILED     ended by itself, or was never ready in time        -

Whatever a backend raises, at whatever moment, is a failure with a reason: a third party's code may
raise anything, and somebody has to be told, and must not be told at once again and again.

What an engine had evaluated in an earlier life is given back to it before it counts as ready, and
taken down before it ends, if whoever owns the runner cares to.

A ready engine that is in use is asked on for its health.  One that answers neither that nor its
requests for the whole `hang_timeout` hangs: its requests are told, and it is killed.  One whose
socket is gone answers the requests that it has, nobody else gets it, and then it has failed.

A runner is one-shot, like the backend's run(): whoever wants another one makes another one.
"Ended" is told once, after the last of its processes is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from runnerd import tasks
from runnerd.backends.health import answers_ready, wait_ready
from runnerd.backends.interface import Backend, BackendConfiguration, BackendMode, EngineFailure
from runnerd.backends.preload import evaluate
from runnerd.errors import BackendFailure, RunnerdError, UpstreamTimeout

log = logging.getLogger(__name__)

_NEWS_TIMEOUT = 0.5  # seconds
_IDLE_INTERVAL = 0.05
_LOOKS = 6  # at an engine's health within the limit after which it hangs, at least
_LONGEST_PAUSE = 5.0  # seconds between two of them: the limit may have changed meanwhile


class RunnerState(enum.Enum):
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """What a runner is started for.  `model` is the id, `model_ref` what the first client called
    it, `preload` are chat messages and `prefix` is text to evaluate before it counts as ready.
    """

    model: str
    model_ref: str
    mode: BackendMode
    configuration: BackendConfiguration
    preload: tuple[dict[str, Any], ...] = ()
    prefix: str = ""


class EngineHang(EngineFailure):
    """An engine that is in use has stopped to answer anything."""

    status = UpstreamTimeout.status
    code = "engine_hang"


class RunnerTimeouts(Protocol):
    """How long an engine may take to load, and to say nothing while it is in use; in seconds.

    Read at the moment when it counts: an owner may change it meanwhile.
    """

    @property
    def load_timeout(self) -> float: ...
    @property
    def hang_timeout(self) -> float: ...


class EngineUnreachable(EngineFailure):
    """An engine that lives and that nobody can connect to any more."""


class Watcher(Protocol):
    """Who owns runners.  Called on the event loop; `ready` and `ended` once at most."""

    def ready(self, runner: Runner) -> None:
        """The engine answers."""
        ...

    def retiring(self, runner: Runner) -> None:
        """Nobody else may have it: it will fail as soon as it is not in use."""
        ...

    def failing(self, runner: Runner, failure: BackendFailure) -> None:
        """The engine will be killed for this failure; its requests need not wait for that."""
        ...

    def ended(self, runner: Runner, failure: BackendFailure | None) -> None:
        """The last process is gone; `failure` is None when the runner was stopped."""
        ...

    def heard_at(self, runner: Runner) -> float | None:
        """Return when the engine last sent something (monotonic), None while it is not in use."""
        ...

    async def recall(self, runner: Runner) -> None:
        """The engine answers and nobody uses it yet: give it back what it had evaluated."""
        ...

    async def remember(self, runner: Runner) -> None:
        """The engine is about to be ended as decided: take down what it has evaluated.

        Cancelled when that is to end at once.
        """
        ...


class Runner:
    """Runs one order on one backend, from `start` to the end of its last process."""

    def __init__(
        self,
        backend: Backend,
        order: LaunchSpec,
        socket: Path,
        *,
        patience: RunnerTimeouts,
        watcher: Watcher,
        ram_limit: int | None = None,
    ) -> None:
        """`ram_limit` is how many bytes of RAM its engine can come to, None for no limit."""
        self.backend = backend
        self.order = order
        self.socket = socket
        self.name = socket.stem  # how logs and `ps` call it
        self.engine_socket = backend.engine_socket(socket)
        self.state = RunnerState.STARTING
        self.failure: BackendFailure | None = None
        self.started_at = time.time()
        self.ready_after: float | None = None
        self.process: int | None = None  # the engine's, once somebody has looked for it
        self.mapped: int | None = None  # bytes of its mapped files that are in RAM
        self.clients: set[str] = set()  # everybody who has used it
        self._forgets = False
        self._loaded = False  # the engine has said that it is ready
        self._ram_limit = ram_limit
        self._patience = patience
        self._watcher = watcher
        self._task: asyncio.Task[None] | None = None
        self._lives = False  # its task runs: only then it can be cancelled without being lost
        self._ended = asyncio.Event()
        self._lost = asyncio.Event()
        self._loss = ""

    def start(self) -> None:
        """Start the engine; returns at once."""
        self._task = tasks.spawn(self._live(), name=f"runner {self.name}")

    def stop(self, *, at_once: bool = False) -> None:
        """Ask the runner to end; idempotent, returns at once.

        What it has evaluated is taken down first, unless it is to end `at_once`; that can still be
        said later.
        """
        hurry = at_once and not self._forgets
        self._forgets = self._forgets or at_once or self.ready_after is None
        if self._task is None:
            return
        if self.state in (RunnerState.STARTING, RunnerState.READY):
            self._enter(RunnerState.STOPPING)
            if self._lives:
                self._task.cancel()
        elif self.state is RunnerState.STOPPING and hurry:
            self._task.cancel()

    def lose(self, reason: str) -> None:
        """Nobody can connect to it any more: end it once its requests have ended; idempotent.

        Returns at once.
        """
        if self.state is RunnerState.READY and not self._lost.is_set():
            self._loss = reason
            self._lost.set()

    async def wait_ended(self) -> BackendFailure | None:
        """Wait until its last process is gone; return why it failed, None when it was stopped."""
        await self._ended.wait()
        return self.failure

    async def _live(self) -> None:
        self._lives = True
        try:
            if self.state is RunnerState.STARTING:
                self.failure = await self._run()
        except Exception as error:
            self.failure = self._unforeseen(error)
        finally:
            self._enter(RunnerState.STOPPED if self.failure is None else RunnerState.FAILED)
            self._ended.set()
            self._watcher.ended(self, self.failure)

    async def _run(self) -> BackendFailure | None:
        """Run the backend beside the watch; return the failure, None when stopped."""
        engine = tasks.spawn(self._engine(), name=f"engine {self.name}")
        watch = tasks.spawn(self._watch(), name=f"watch {self.name}")
        try:
            await asyncio.wait([engine, watch], return_when=asyncio.FIRST_COMPLETED)
            if engine.done():
                return self._told(self._outcome(engine))
            failure = self._outcome(watch)
            if isinstance(failure, EngineUnreachable):
                # Perhaps it has ended, which explains more, and the news is on its way.
                await asyncio.wait([engine], timeout=_NEWS_TIMEOUT)
                if engine.done():
                    return self._told(self._outcome(engine))
            self._watcher.failing(self, failure)
            await tasks.cancel_and_wait(engine)
            return failure
        except asyncio.CancelledError:
            if self.state is not RunnerState.STOPPING:
                self._enter(RunnerState.STOPPING)
            if not self._forgets:
                await self._remember(engine)
            return None
        finally:
            # The engine's processes are gone only when its task has ended, however often we are
            # cancelled.
            watch.cancel()
            engine.cancel()
            await tasks.outlast(engine, watch)

    def _outcome(self, task: asyncio.Task[BackendFailure]) -> BackendFailure:
        """Return what an ended task says; one that cancelled itself has failed as well."""
        if task.cancelled():
            return self._unforeseen(asyncio.CancelledError("it gave up by itself"))
        return task.result()

    def _unforeseen(self, error: BaseException) -> BackendFailure:
        """Return what nobody foresaw as a failure; its traceback is for the log."""
        kind = type(error).__name__
        detail = error.strerror if isinstance(error, OSError) else str(error)
        known = isinstance(error, OSError | asyncio.CancelledError)
        level = logging.WARNING if known else logging.ERROR
        log.log(level, "runner %s: %s", self.name, kind, exc_info=None if known else error)
        failure = EngineFailure(
            f"backend {self.backend.name} failed: {kind}{f': {detail}' if detail else ''}",
            exit_reason="an error of the backend",
            loading=not self._loaded,
        )
        failure.__cause__ = error
        return failure

    async def _remember(self, engine: asyncio.Task[BackendFailure]) -> None:
        """Let what it has evaluated be taken down, for as long as it lives."""
        saving = tasks.spawn(self._watcher.remember(self), name=f"remember {self.name}")
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([saving, engine], return_when=asyncio.FIRST_COMPLETED)
        with contextlib.suppress(asyncio.CancelledError):
            await tasks.cancel_and_wait(saving)

    async def _engine(self) -> BackendFailure:
        order = self.order
        try:
            await self.backend.run(
                self.socket,
                order.model,
                order.model_ref,
                order.mode,
                order.configuration,
                ram_limit=self._ram_limit,
            )
        except BackendFailure as failure:
            return failure
        except RunnerdError as error:
            translated = BackendFailure(error.message)
            translated.__cause__ = error
            return translated
        except (Exception, SystemExit) as error:
            return self._unforeseen(error)
        return EngineFailure(f"backend {self.backend.name} returned without a reason")

    def _told(self, failure: BackendFailure) -> BackendFailure:
        """Say of an engine that failed what only we know: whether it was still loading.

        One that dies of what it is to recall or to preload had loaded: the next try may do better.
        """
        if isinstance(failure, EngineFailure) and not self._loaded:
            return failure.while_loading()
        return failure

    async def _watch(self) -> BackendFailure:
        """Tell when the engine is ready; return what is wrong with it once something is."""
        try:
            return await self._watched()
        except (Exception, SystemExit) as error:
            return self._unforeseen(error)

    async def _watched(self) -> BackendFailure:
        limit = self._patience.load_timeout
        started = time.monotonic()
        try:
            async with asyncio.timeout(limit):
                await wait_ready(self.engine_socket)
                self._loaded = True
                await self._watcher.recall(self)
                await self._warm_up()
        except TimeoutError:
            return EngineFailure(
                f"model {self.order.model_ref} was not ready within {limit:g} s (load_timeout)",
                exit_reason="not ready in time",
                loading=True,
            )
        self.ready_after = time.monotonic() - started
        self._enter(RunnerState.READY)
        self._watcher.ready(self)
        return await self._hangs()

    async def _warm_up(self) -> None:
        """Evaluate what is to be preloaded; a model serves without that, too."""
        order = self.order
        try:
            await evaluate(self.engine_socket, messages=order.preload, prefix=order.prefix)
        except BackendFailure as error:
            log.warning("runner %s: nothing preloaded: %s", self.name, error.message)

    async def _hangs(self) -> BackendFailure:
        """Return when the engine has given no sign of life for too long while it was in use."""
        answered_at = time.monotonic()
        while True:
            pause = min(self._patience.hang_timeout / _LOOKS, _LONGEST_PAUSE)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._lost.wait()
            if self._lost.is_set():
                return await self._retired()
            looked_at = time.monotonic()
            if self._watcher.heard_at(self) is None or await answers_ready(
                self.engine_socket, within=pause
            ):
                answered_at = looked_at
                continue
            limit, heard_at = self._patience.hang_timeout, self._watcher.heard_at(self)
            if heard_at is not None and time.monotonic() - max(answered_at, heard_at) >= limit:
                return EngineHang(
                    f"the engine of {self.order.model_ref} gave no sign of life for {limit:g} s "
                    "(hang_timeout) and was ended",
                    exit_reason="hang",
                )

    async def _retired(self) -> BackendFailure:
        """Return once the requests that an engine still answers have ended."""
        self._watcher.retiring(self)
        limit, began = self._patience.hang_timeout, time.monotonic()
        while (heard_at := self._watcher.heard_at(self)) is not None:
            if time.monotonic() - max(began, heard_at) >= limit:
                break
            await asyncio.sleep(_IDLE_INTERVAL)
        return EngineUnreachable(
            f"the engine of {self.order.model_ref} could not be reached any more: {self._loss}",
            exit_reason="unreachable",
        )

    def _enter(self, state: RunnerState) -> None:
        if state is not self.state:
            log.info(
                "runner %s %s: %s -> %s",
                self.name,
                self.order.model_ref,
                self.state.value,
                state.value,
            )
            self.state = state
