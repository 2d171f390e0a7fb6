"""Carries out what the scheduler decides: the only place with side effects on runners.

Every event (a request, a release, a runner that is ready or has ended, a deadline) goes to the
scheduler and its decisions are carried out here, at once and in order.  Nothing in here waits
while it holds anything: starting and stopping are tasks of the runners themselves.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from runnerd.backends.interface import Backend, BackendMode
from runnerd.config import Settings
from runnerd.configurations import ConfigurationKey, Configurations, ModelConfiguration
from runnerd.errors import (
    BackendFailure,
    BackendNotFound,
    Conflict,
    Draining,
    Overloaded,
    RunnerdError,
    RunnerNotFound,
)
from runnerd.runner import Order, Runner
from runnerd.scheduler import (
    Decision,
    Grant,
    Refusal,
    Refuse,
    RunnerKey,
    RunnerView,
    Scheduler,
    Start,
    Stop,
)
from runnerd.sockets.paths import RuntimeDirectory

log = logging.getLogger(__name__)

_RETRY_AFTER = 5.0  # seconds; what an overloaded daemon asks a client to wait


class Lease:
    """One request's claim on one runner.  Whoever holds it must release it; twice is harmless.

    `revoked` is called when the runner is taken away by force; its engine ends only when the
    holder's connection to it has gone.
    """

    __slots__ = ("_release", "_ticket", "revoked", "runner")

    def __init__(self, runner: Runner, ticket: int, release: Callable[[int], None]) -> None:
        self.runner = runner
        self.revoked: Callable[[], None] | None = None
        self._ticket = ticket
        self._release = release

    def release(self) -> None:
        """Give the runner back."""
        self._release(self._ticket)


@dataclass(frozen=True, slots=True)
class RunnerReport:
    """A runner as `ps` shows it.  Times are Unix time in seconds; None: not yet, or never."""

    id: str
    backend: str
    model: str
    model_ref: str
    mode: BackendMode
    state: str
    in_use: int
    waiting: int
    last_used_at: float
    expires_at: float | None
    keep_alive: float
    ready_after: float | None
    socket: str


class Supervisor:
    """Owns the runners."""

    def __init__(
        self,
        settings: Settings,
        backends: Mapping[str, Backend],
        configurations: Configurations,
        directory: RuntimeDirectory,
    ) -> None:
        self._settings = settings
        self._backends = backends
        self._configurations = configurations
        self._directory = directory
        self._scheduler = Scheduler(
            capacity=settings.max_runners,
            queue_length=settings.queue_length,
            queue_timeout=settings.queue_timeout,
            keep_alive=settings.idle_timeout,
        )
        self._tickets = itertools.count(1)
        self._waiters: dict[int, asyncio.Future[Lease]] = {}
        self._leases: dict[int, Lease] = {}
        self._orders: dict[RunnerKey, Order] = {}
        self._runners: dict[RunnerKey, tuple[int, Runner]] = {}
        self._deadline: asyncio.TimerHandle | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    # leases

    def backend(self, name: str | None) -> Backend:
        """Return a backend by name, the default one for None.  Raises errors.BackendNotFound."""
        backend = self._backends.get(name or self._settings.default_backend)
        if backend is None:
            known = ", ".join(sorted(self._backends)) or "none"
            raise BackendNotFound(f"backend not found: {name!r} (there is: {known})")
        return backend

    def key(self, backend: Backend, model: str, mode: BackendMode) -> RunnerKey:
        """Return the key of the runner that serves `model` as it is configured now."""
        fingerprint = self._configurations.effective(backend.name, model, mode)[1]
        return RunnerKey(backend.name, model, mode.value, fingerprint)

    def lease_at_once(self, key: RunnerKey, *, keep_alive: float | None = None) -> Lease | None:
        """Return a lease if a runner is ready, None if it would take waiting.

        `keep_alive` is as in `lease`.
        """
        entry = self._runners.get(key)
        if entry is None or entry[1].ready_after is None:
            return None
        ticket = next(self._tickets)
        decisions = self._scheduler.request(ticket, key, time.monotonic(), keep_alive=keep_alive)
        if len(decisions) == 1 and isinstance(decisions[0], Grant):
            return self._lease(entry[1], ticket)
        # Stopping or draining: leave the queue again, the caller comes back through `lease`.
        self._carry_out(self._scheduler.withdraw(ticket, time.monotonic()), skip=ticket)
        return None

    async def lease(
        self, key: RunnerKey, model_ref: str, *, keep_alive: float | None = None
    ) -> Lease:
        """Wait for a runner.  Cancelling leaves the queue at once.

        `keep_alive` is how many seconds the runner stays loaded after this lease: 0 stops it as
        soon as it is idle, scheduler.FOREVER keeps it, None leaves what an earlier lease asked
        for, else what is configured for the model, else `idle_timeout`.  The latest lease that
        names one decides.

        Raises errors.Overloaded, Draining, BackendFailure (the load failed, with the engine's
        words).
        """
        backend = self._backends[key.backend]
        mode = BackendMode(key.mode)
        configuration = self._configurations.effective(backend.name, key.model, mode)[0]
        self._orders.setdefault(key, Order(key.model, model_ref, mode, configuration))
        self._scheduler.set_keep_alive(key, configuration.keep_alive)
        ticket = next(self._tickets)
        future: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        self._waiters[ticket] = future
        try:
            now = time.monotonic()
            self._carry_out(self._scheduler.request(ticket, key, now, keep_alive=keep_alive))
            return await future
        except asyncio.CancelledError:
            # Also when the lease was granted in the very moment of the cancellation.
            self._leases.pop(ticket, None)
            self._carry_out(self._scheduler.withdraw(ticket, time.monotonic()))
            raise
        finally:
            self._waiters.pop(ticket, None)

    def _lease(self, runner: Runner, ticket: int) -> Lease:
        lease = self._leases[ticket] = Lease(runner, ticket, self._release)
        return lease

    def _release(self, ticket: int) -> None:
        self._leases.pop(ticket, None)
        self._carry_out(self._scheduler.release(ticket, time.monotonic()))

    # owners' commands

    async def unload(self, *, backend: str | None = None, models: set[str] | None = None) -> int:
        """Stop the idle runners of `models` (None: of every model), wait until they are gone.

        Returns how many there were; busy ones stay.
        """

        def matches(key: RunnerKey) -> bool:
            return (not backend or key.backend == backend) and (
                models is None or key.model in models
            )

        return await self._stop_idle(matches)

    async def unload_model(self, model: str, *, force: bool) -> None:
        """Stop every runner of a model that is to be deleted, and wait until they are gone.

        Raises errors.Conflict when one is in use, unless `force` ends those requests.
        """
        if self._scheduler.busy(lambda key: key.model == model) and not force:
            raise Conflict("the model is in use; try again later, or delete with force")
        ending = [runner for key, (_, runner) in self._runners.items() if key.model == model]
        for lease in list(self._leases.values()):
            if lease.runner in ending and lease.revoked is not None:
                lease.revoked()
        for runner in ending:
            runner.stop()
        for runner in ending:
            await runner.wait_ended()

    async def configure(self, key: ConfigurationKey, changes: dict[str, object]) -> None:
        """Change a model's configuration; an idle runner that has the old one is stopped.

        Raises errors.InvalidConfiguration, Conflict when such a runner is in use.
        """
        backend = self.backend(key.backend)
        configuration = self._configurations.merged(key, changes)
        backend.check_configuration(configuration)
        in_force = self._configurations.effective(key.backend, key.model, key.mode)[1]
        if configuration.fingerprint() == in_force:
            self._configurations.set(key, changes)
            self._keep_as_configured()
            return

        def affected(runner: RunnerKey) -> bool:
            return (
                runner.backend == key.backend
                and runner.model == key.model
                and (runner.mode == key.mode.value or key.mode is BackendMode.COMPLETION)
            )

        if self._scheduler.busy(affected):
            raise Conflict("runner already active: unload the model, or wait until it is idle")
        self._configurations.set(key, changes)
        await self._stop_idle(affected)

    def _keep_as_configured(self) -> None:
        """Let the runners that are there live as long as is configured now."""
        for key in self._runners:
            mode = BackendMode(key.mode)
            configuration, _ = self._configurations.effective(key.backend, key.model, mode)
            self._scheduler.set_keep_alive(key, configuration.keep_alive)
        self._carry_out(self._scheduler.tick(time.monotonic()))

    async def _stop_idle(self, matches: Callable[[RunnerKey], bool]) -> int:
        decisions = self._scheduler.unload(matches)
        stopping = [self._runners[stop.key][1] for stop in decisions if isinstance(stop, Stop)]
        self._carry_out(decisions)
        for runner in stopping:
            await runner.wait_ended()
        return len(stopping)

    def configurations(self) -> list[tuple[ConfigurationKey, ModelConfiguration]]:
        """Return what owners configured."""
        return list(self._configurations.list())

    def forget(self, model: str) -> None:
        """Drop what was configured for a deleted model."""
        self._configurations.forget(model)

    # on view

    def reports(self) -> list[RunnerReport]:
        """Return every runner, for `ps`."""
        offset = time.time() - time.monotonic()
        return [
            self._report(view, offset)
            for view in self._scheduler.view()
            if view.key in self._runners
        ]

    def runner(self, id: str) -> tuple[RunnerKey, Runner]:
        """Return a runner by the id that `ps` shows.  Raises errors.RunnerNotFound."""
        for key, (_, runner) in self._runners.items():
            if runner.name == id:
                return key, runner
        raise RunnerNotFound(f"no runner {id!r}; `runnerd ps` lists them")

    @property
    def queued(self) -> int:
        """How many requests wait for a runner."""
        return self._scheduler.queued

    def _report(self, view: RunnerView, offset: float) -> RunnerReport:
        runner = self._runners[view.key][1]
        return RunnerReport(
            id=runner.name,
            backend=view.key.backend,
            model=view.key.model,
            model_ref=runner.order.model_ref,
            mode=runner.order.mode,
            state=view.state.value,
            in_use=view.leases,
            waiting=view.waiting,
            last_used_at=view.used_at + offset,
            expires_at=None if view.expires_at is None else view.expires_at + offset,
            keep_alive=view.keep_alive,
            ready_after=runner.ready_after,
            socket=str(runner.socket),
        )

    # the end

    def drain(self) -> None:
        """Admit no further request and stop what is idle; returns at once."""
        self._carry_out(self._scheduler.drain())

    async def close(self) -> None:
        """Stop every runner, busy or not, and wait until the last process is gone."""
        self.drain()
        for _, runner in list(self._runners.values()):
            runner.stop()
        await self._empty.wait()
        if self._deadline is not None:
            self._deadline.cancel()

    # carrying out

    def _carry_out(self, decisions: list[Decision], *, skip: int | None = None) -> None:
        for decision in decisions:
            match decision:
                case Grant(ticket, key, _):
                    self._grant(ticket, key)
                case Refuse(ticket, refusal, failure):
                    if ticket != skip:
                        self._refuse(ticket, refusal, failure)
                case Start(key, generation):
                    self._start(key, generation)
                case Stop(key, generation, reason):
                    if (entry := self._runners.get(key)) and entry[0] == generation:
                        log.info("stopping runner %s: %s", entry[1].name, reason.value)
                        entry[1].stop()
        self._arm()

    def _grant(self, ticket: int, key: RunnerKey) -> None:
        future = self._waiters.get(ticket)
        if future is None or future.done():
            self._release(ticket)
        else:
            future.set_result(self._lease(self._runners[key][1], ticket))

    def _refuse(self, ticket: int, refusal: Refusal, failure: BackendFailure | None) -> None:
        future = self._waiters.get(ticket)
        if future is not None and not future.done():
            future.set_exception(_error(refusal, failure))

    def _start(self, key: RunnerKey, generation: int) -> None:
        order = self._orders[key]
        name = f"{key.backend} {key.model} {key.mode} {key.configuration}"
        runner = Runner(
            self._backends[key.backend],
            order,
            self._directory.runner_socket(name),
            load_timeout=self._settings.load_timeout,
            on_ready=lambda runner: self._on_ready(key, generation),
            on_ended=lambda runner, failure: self._on_ended(key, generation, failure),
        )
        self._runners[key] = (generation, runner)
        self._empty.clear()
        runner.start()

    def _on_ready(self, key: RunnerKey, generation: int) -> None:
        self._carry_out(self._scheduler.ready(key, generation, time.monotonic()))

    def _on_ended(self, key: RunnerKey, generation: int, failure: BackendFailure | None) -> None:
        if failure is not None:
            log.warning("runner of %s failed: %s", key.model, failure.message)
        self._runners.pop(key, None)
        self._carry_out(self._scheduler.ended(key, generation, failure, time.monotonic()))
        if key not in self._runners and not self._scheduler.queued:
            self._orders.pop(key, None)
            self._scheduler.set_keep_alive(key, None)
        if not self._runners:
            self._empty.set()

    def _arm(self) -> None:
        """Wake at the scheduler's next deadline; there is no periodic tick."""
        deadline = self._scheduler.next_deadline()
        if self._deadline is not None:
            if deadline is None or self._deadline.when() <= deadline:
                return  # wakes early enough, and re-arms then; to cancel costs more than to wake
            self._deadline.cancel()
            self._deadline = None
        if deadline is not None:
            self._deadline = asyncio.get_running_loop().call_at(deadline, self._tick)

    def _tick(self) -> None:
        self._deadline = None
        self._carry_out(self._scheduler.tick(time.monotonic()))


def _error(refusal: Refusal, failure: BackendFailure | None) -> RunnerdError:
    """Return what a refused request is told."""
    match refusal:
        case Refusal.LOAD_FAILED if failure is not None:
            # Docker's clients look for this phrase; SDKs must not repeat a load that cannot work.
            return BackendFailure(f"unable to load runner: {failure.message}", should_retry=False)
        case Refusal.DRAINING:
            return Draining("the daemon is shutting down")
        case Refusal.UNLOADED:
            return Conflict("the model was unloaded while this request waited for it")
        case Refusal.QUEUE_TIMEOUT:
            return Overloaded(
                "no runner became free in time (queue_timeout)", retry_after=_RETRY_AFTER
            )
        case _:
            return Overloaded("too many requests wait for a runner", retry_after=_RETRY_AFTER)
