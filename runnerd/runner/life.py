"""A runner's states, and the process behind them.

    state      means                                              goes to
    STARTING   the backend runs, the engine does not answer yet   READY, STOPPING, FAILED
    READY      the engine says so (`engine_watch`)                STOPPING, FAILED
    STOPPING   asked to stop; its processes are being ended       STOPPED
    STOPPED    ended because it was asked to, and only then       -
    FAILED     ended by itself, or was never ready in time        -

There are two requests to end: `stop` saves first what the engine has evaluated, `stop_at_once`
saves nothing, and may follow a `stop` that is still saving.

What an engine had evaluated in an earlier life is given back to it before it counts as ready, and
saved before it ends, if whoever owns the runner cares to.

A runner is one-shot, like the backend's run(): whoever wants another one makes another one.
"Ended" is told once, after the last of its processes is gone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from functools import cached_property
from pathlib import Path
from typing import Protocol

from runnerd import tasks
from runnerd.backends.interface import Backend, EngineFailure
from runnerd.errors import BackendFailure, RunnerdError
from runnerd.runner.engine_watch import UNASKED, EngineWatch
from runnerd.runner.failures import EngineUnreachable, unforeseen
from runnerd.runner.launch import LaunchSpec, RunnerTimeouts
from runnerd.scheduler import RunnerKey, RunnerState
from runnerd.sockets.peer import Endpoint

log = logging.getLogger(__name__)

_NEWS_TIMEOUT = 0.5  # seconds


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
        """When the engine last sent something that it had computed then (monotonic).

        None while it is not in use; UNASKED while nobody wants anything of its working thread.
        """
        ...

    async def recall(self, runner: Runner) -> None:
        """The engine answers and nobody uses it yet: give it back what it had evaluated."""
        ...

    async def remember(self, runner: Runner) -> None:
        """The engine is about to be ended as decided: save what it has evaluated.

        Cancelled when that is to end at once.
        """
        ...


class Runner:
    """Runs one launch spec on one backend, from `start` to the end of its last process.

    `key` and `generation` are the scheduler's words for it: what it can be asked for, and which
    start of that it is, so that late news of an older one is recognised.
    """

    def __init__(
        self,
        backend: Backend,
        spec: LaunchSpec,
        socket: Path,
        *,
        key: RunnerKey,
        generation: int,
        timeouts: RunnerTimeouts,
        watcher: Watcher,
        ram_limit: int | None = None,
    ) -> None:
        """`ram_limit` is how many bytes of RAM its engine can come to, None for no limit."""
        self.backend = backend
        self.spec = spec
        self.key = key
        self.generation = generation
        self.socket = socket
        self.name = socket.stem  # how logs and `ps` call it
        self.engine_socket = backend.engine_socket(socket)
        self.state = RunnerState.STARTING
        self.failure: BackendFailure | None = None
        self.started_at = time.time()
        self.ready_after: float | None = None
        self.process: int | None = None  # the engine's, once somebody has looked for it
        self.mapped: int | None = None  # bytes of its mapped files that are in RAM
        self.user: int | None = None  # its engine's uid, where that is not the daemon's
        self.clients: set[str] = set()  # everybody who has used it
        self.used = False  # since somebody last looked whether it works
        self.responded = False  # to the end of a request, since then
        self._ram_limit = ram_limit
        self._watcher = watcher
        self._engine_watch = EngineWatch(
            self.name, self.engine_socket, spec, timeouts, self._heard_at
        )
        self._stop_requested = asyncio.Event()
        self._at_once = asyncio.Event()  # set: what it has evaluated is not worth saving
        self._ended = asyncio.Event()

    @cached_property
    def endpoint(self) -> Endpoint:
        """Where a ready engine is asked.  Whose its folder is was settled before it was started
        and stays so to its end: this looks once for each start, and not at each connection.
        """
        return Endpoint.of(self.engine_socket)

    def start(self) -> None:
        """Start the engine; returns at once."""
        tasks.spawn(self._live(), name=f"runner {self.name}")

    def stop(self) -> None:
        """Ask the runner to save what it has evaluated and to end; idempotent, returns at once."""
        if self.state in (RunnerState.STARTING, RunnerState.READY):
            self._enter(RunnerState.STOPPING)
        self._stop_requested.set()

    def stop_at_once(self) -> None:
        """Ask the runner to end without saving anything, also while `stop` saves; idempotent.

        Returns at once.
        """
        self._at_once.set()
        self.stop()

    def lose(self, reason: str) -> None:
        """Nobody can connect to it any more: end it once its requests have ended; idempotent.

        Returns at once.
        """
        if self.state is RunnerState.READY:
            self._engine_watch.lose(reason)

    async def wait_ended(self) -> BackendFailure | None:
        """Wait until its last process is gone; return why it failed, None when it was stopped."""
        await self._ended.wait()
        return self.failure

    async def _live(self) -> None:
        try:
            if not self._stop_requested.is_set():
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
        stop = tasks.spawn(self._stop_requested.wait(), name=f"stop {self.name}")
        try:
            await asyncio.wait([engine, watch, stop], return_when=asyncio.FIRST_COMPLETED)
            if not self._stop_requested.is_set():
                failure = await self._failed(engine, watch)
                if not self._stop_requested.is_set():
                    return failure
            await self._save(engine)
            return None
        except asyncio.CancelledError:  # nobody here does that: the event loop is being closed
            self._enter(RunnerState.STOPPING)
            return None
        finally:
            # The engine's processes are gone only when its task has ended, however often we are
            # cancelled.
            for task in (engine, watch, stop):
                task.cancel()
            await tasks.outlast(engine, watch, stop)

    async def _failed(
        self, engine: asyncio.Task[BackendFailure], watch: asyncio.Task[BackendFailure]
    ) -> BackendFailure:
        """Say why one of the two tasks has ended; the engine's processes are gone then.

        Unless somebody asks the runner to stop meanwhile, which needs no reason.
        """
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

    def _outcome(self, task: asyncio.Task[BackendFailure]) -> BackendFailure:
        """The failure with which an engine's task ended; to cancel itself is a failure as well."""
        if task.cancelled():
            return self._unforeseen(asyncio.CancelledError("it gave up by itself"))
        return task.result()

    def _unforeseen(self, error: BaseException) -> BackendFailure:
        loading = not self._engine_watch.loaded
        return unforeseen(error, runner=self.name, backend=self.backend.name, loading=loading)

    async def _save(self, engine: asyncio.Task[BackendFailure]) -> None:
        """Let what the engine has evaluated be saved, for as long as it lives and nobody hurries.

        One that never was ready has nothing to save.
        """
        if self._at_once.is_set() or self.ready_after is None or engine.done():
            return
        saving = tasks.spawn(self._watcher.remember(self), name=f"remember {self.name}")
        hurry = tasks.spawn(self._at_once.wait(), name=f"hurry {self.name}")
        try:
            await asyncio.wait([saving, engine, hurry], return_when=asyncio.FIRST_COMPLETED)
        finally:
            saving.cancel()
            hurry.cancel()
            await tasks.outlast(saving, hurry)

    async def _engine(self) -> BackendFailure:
        spec = self.spec
        try:
            await self.backend.run(
                self.socket,
                spec.model,
                spec.model_ref,
                spec.mode,
                spec.configuration,
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
        if isinstance(failure, EngineFailure) and not self._engine_watch.loaded:
            return failure.while_loading()
        return failure

    async def _watch(self) -> BackendFailure:
        """Tell when the engine is ready; return what is wrong with it once something is."""
        try:
            return await self._watched()
        except (Exception, SystemExit) as error:
            return self._unforeseen(error)

    async def _watched(self) -> BackendFailure:
        started = time.monotonic()
        failure = await self._engine_watch.wait_ready(lambda: self._watcher.recall(self))
        if failure is not None:
            return failure
        if self._stop_requested.is_set():
            return EngineFailure("stopped while it loaded")  # nobody is told
        self.ready_after = time.monotonic() - started
        self._enter(RunnerState.READY)
        self._watcher.ready(self)
        return await self._engine_watch.wait_failed(lambda: self._watcher.retiring(self))

    def _heard_at(self) -> float | None:
        """When the engine last sent something; 0 for one that was used and is not any more."""
        heard_at, used = self._watcher.heard_at(self), self.used
        if self.responded:
            heard_at = time.monotonic()
        self.used = self.responded = False
        return 0.0 if heard_at in (None, UNASKED) and used else heard_at

    def _enter(self, state: RunnerState) -> None:
        if state is not self.state:
            log.debug(  # whoever owns it tells what it means
                "runner %s %s: %s -> %s",
                self.name,
                self.spec.model_ref,
                self.state.value,
                state.value,
            )
            self.state = state
