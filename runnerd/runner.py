"""One model server's life.  The only state machine with an operating-system process behind it.

    state      means                                              goes to
    STARTING   the backend runs, the engine does not answer yet   READY, STOPPING, FAILED
    READY      /health answered 200                               STOPPING, FAILED
    STOPPING   cancelled; its processes are being ended           STOPPED
    STOPPED    ended because it was asked to                      -
    FAILED     ended by itself, or was never ready in time        -

A runner is one-shot, like the backend's run(): whoever wants another one makes another one.
"Ended" is told once, after the last of its processes is gone.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from runnerd import tasks
from runnerd.backends.interface import Backend, BackendConfiguration, BackendMode, EngineFailure
from runnerd.errors import BackendFailure, RunnerdError

log = logging.getLogger(__name__)

_FIRST_PROBE = 0.01  # seconds; doubles up to the next: a small model is ready in 30 ms
_SLOWEST_PROBE = 0.1
_PROBE_TIMEOUT = 5.0


class RunnerState(enum.Enum):
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Order:
    """What a runner is started for.  `model` is the id, `model_ref` what the first client called
    it.
    """

    model: str
    model_ref: str
    mode: BackendMode
    configuration: BackendConfiguration


class Runner:
    """Runs one order on one backend, from `start` to the end of its last process.

    `on_ready` and `on_ended` are called on the event loop, each at most once, in this order;
    `on_ended` gets the failure, or None when the runner was stopped.
    """

    def __init__(
        self,
        backend: Backend,
        order: Order,
        socket: Path,
        *,
        load_timeout: float,
        on_ready: Callable[[Runner], None],
        on_ended: Callable[[Runner, BackendFailure | None], None],
    ) -> None:
        self.backend = backend
        self.order = order
        self.socket = socket
        self.engine_socket = backend.engine_socket(socket)
        self.state = RunnerState.STARTING
        self.failure: BackendFailure | None = None
        self.started_at = time.time()
        self.ready_after: float | None = None
        self._load_timeout = load_timeout
        self._on_ready = on_ready
        self._on_ended = on_ended
        self._task: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()

    @property
    def name(self) -> str:
        """How logs and `ps` call it: the stem of its socket."""
        return self.socket.stem

    def start(self) -> None:
        """Start the engine; returns at once."""
        self._task = tasks.spawn(self._live(), name=f"runner {self.name}")

    def stop(self) -> None:
        """Ask the runner to end; idempotent, returns at once."""
        if self.state in (RunnerState.STARTING, RunnerState.READY) and self._task is not None:
            self._enter(RunnerState.STOPPING)
            self._task.cancel()

    async def wait_ended(self) -> BackendFailure | None:
        """Wait until its last process is gone; return why it failed, None when it was stopped."""
        await self._ended.wait()
        return self.failure

    async def _live(self) -> None:
        try:
            self.failure = await self._run()
        finally:
            self._enter(RunnerState.STOPPED if self.failure is None else RunnerState.FAILED)
            self._ended.set()
            self._on_ended(self, self.failure)

    async def _run(self) -> BackendFailure | None:
        """Run the backend beside the probe; return the failure, None when stopped."""
        engine = tasks.spawn(self._engine(), name=f"engine {self.name}")
        probe = tasks.spawn(self._probe(), name=f"probe {self.name}")
        try:
            await asyncio.wait([engine, probe], return_when=asyncio.FIRST_COMPLETED)
            if not engine.done() and probe.done() and not probe.result():
                await tasks.cancel_and_wait(engine)
                return BackendFailure(
                    f"model {self.order.model_ref} was not ready within "
                    f"{self._load_timeout:g} s (load_timeout)"
                )
            return await asyncio.shield(engine)
        except asyncio.CancelledError:
            if self.state is not RunnerState.STOPPING:
                self._enter(RunnerState.STOPPING)
            return None
        finally:
            # The engine's processes are gone only when its task has ended, however often we are
            # cancelled.
            probe.cancel()
            engine.cancel()
            while not (engine.done() and probe.done()):
                try:
                    await asyncio.wait([engine, probe])
                except asyncio.CancelledError:
                    continue

    async def _engine(self) -> BackendFailure | None:
        order = self.order
        try:
            await self.backend.run(
                self.socket, order.model, order.model_ref, order.mode, order.configuration
            )
        except BackendFailure as failure:
            return failure
        except RunnerdError as error:
            translated = BackendFailure(error.message)
            translated.__cause__ = error
            return translated
        return EngineFailure(f"backend {self.backend.name} returned without a reason")

    async def _probe(self) -> bool:
        """Wait until the engine says that it is ready; False when it took too long."""
        started = time.monotonic()
        pause = _FIRST_PROBE
        while time.monotonic() - started < self._load_timeout:
            if await self._answers():
                self.ready_after = time.monotonic() - started
                self._enter(RunnerState.READY)
                self._on_ready(self)
                return True
            await asyncio.sleep(pause)
            pause = min(_SLOWEST_PROBE, pause * 2)
        return False

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT):
                return await _health(self.engine_socket) == 200
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            return False

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


async def _health(socket: Path) -> int:
    """Return the status of GET /health on a Unix socket."""
    reader, writer = await asyncio.open_unix_connection(str(socket))
    try:
        writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        line = await reader.readline()
        return int(line.split(None, 2)[1]) if line.startswith(b"HTTP/1.") else 0
    finally:
        writer.close()
