"""The supervisor: leases runners, shows what there is, and drains.

Every event (a request, a release, a runner that is ready or has ended, a deadline) goes to the
scheduler, and its decisions are carried out at once and in order (`parts` says by whom).  Nothing
in here waits while it holds anything: starting and stopping are tasks of the runners themselves.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping, Sequence

from runnerd.access import NOBODY, Principal
from runnerd.backends.interface import Backend
from runnerd.config import Settings
from runnerd.configurations import ConfigurationKey, Configurations, ModelConfiguration
from runnerd.errors import BackendFailure
from runnerd.runner import Runner, RunnerState
from runnerd.saved_slots import SavedSlots
from runnerd.scheduler import BACKGROUND, RunnerKey
from runnerd.sockets.paths import RuntimeDirectory
from runnerd.supervisor.job_gate import JobGate
from runnerd.supervisor.lease import Claimant, Lease, LeaseHolder, Promise, Waiter
from runnerd.supervisor.limits import scheduler_limits
from runnerd.supervisor.memory import HostMemory
from runnerd.supervisor.parts import ModelNames, build_parts
from runnerd.supervisor.reports import RunnerReport


class Supervisor:
    """Owns the runners and leases them.

    `keys` says which runner serves a model; `unloading`, `configuring` and `removing` are for the
    owner's commands; `changes` tells what becomes of runners, `host` reports on the devices,
    `fitting` on whether models fit.
    """

    def __init__(
        self,
        settings: Settings,
        backends: Mapping[str, Backend],
        configurations: Configurations,
        directory: RuntimeDirectory,
        *,
        host: HostMemory | None = None,
        name_of: Callable[[str], str] = str,
        load_of: Callable[[str], str] = str,
        loaded_as: Callable[[str], Sequence[str]] = lambda load: (load,),
        slots: SavedSlots | None = None,
    ) -> None:
        """`name_of` says what to call a model, by id, that nobody has asked for by name, `load_of`
        what its engine is started with, `loaded_as` which models have that in common; `slots` is
        where runners leave what they had evaluated.
        """
        self._settings = settings
        self._configurations = configurations
        self._tickets = itertools.count(1)
        self._hurried = False
        parts = build_parts(
            settings,
            backends,
            configurations,
            directory,
            host=host,
            names=ModelNames(name_of, load_of, loaded_as),
            slots=slots,
        )
        self._scheduler = parts.scheduler
        self._actions = parts.actions
        self._fleet = parts.fleet
        self._slot_persistence = parts.slot_persistence
        self._preparation = parts.preparation
        self._reports = parts.reports
        self._claims = parts.claims
        self._watch = parts.watch
        self.session_states = parts.session_states
        self.host = parts.host
        self.changes = parts.changes
        self.fitting = parts.fitting
        self.keys = parts.keys
        self.unloading = parts.unloading
        self.configuring = parts.configuring
        self.removing = parts.removing

    # leases

    def lease_at_once(
        self,
        key: RunnerKey,
        *,
        holder: LeaseHolder | None = None,
        principal: Principal = NOBODY,
        keep_alive: float | None = None,
        affinity: tuple[int, ...] = (),
        background: bool = False,
        long: bool = False,
    ) -> Lease | None:
        """Return a lease if a runner is ready, None if it would take waiting.  The arguments are as
        in `lease`; one that `recalls` is worth waiting for (`recalled`).
        """
        ticket = next(self._tickets)
        granted = self._scheduler.request_at_once(
            ticket,
            key,
            time.monotonic(),
            keep_alive=keep_alive,
            client=principal.id,
            affinity=affinity,
            background=background,
            long=long,
        )
        if granted is None:
            return None
        return self._claims.lease(granted, principal, holder, background=background)

    def line_up(
        self,
        key: RunnerKey,
        claimant: Claimant,
        *,
        holder: LeaseHolder | None = None,
        principal: Principal = NOBODY,
        keep_alive: float | None = None,
        affinity: tuple[int, ...] = (),
        priority: int = 0,
        long: bool = False,
        full: bool = False,
    ) -> int | None:
        """Let a claimant wait for a runner that is in use; return the ticket to `leave` with, None
        where that takes more than waiting: `lease` does it.  The arguments are as there; `full`
        says that `lease_at_once` has found no room for the same a moment ago.
        """
        ticket, now = next(self._tickets), time.monotonic()
        if not self._scheduler.line_up(
            ticket,
            key,
            now,
            keep_alive=keep_alive,
            client=principal.id,
            affinity=affinity,
            priority=priority,
            long=long,
            full=full,
        ):
            return None
        background = priority <= BACKGROUND
        self._claims.wait(ticket, Waiter(key, principal, claimant, holder, background))
        self._actions.wake_by(now + self._settings.queue_timeout)
        self._actions.wake_by(self._scheduler.held_back_until(key))
        return ticket

    def leave(self, ticket: int) -> None:
        """Wait no more; harmless once the claimant has been told something."""
        if self._claims.leave(ticket):
            self._claims.withdraw(ticket)

    async def lease(
        self,
        key: RunnerKey,
        model_ref: str,
        *,
        holder: LeaseHolder | None = None,
        keep_alive: float | None = None,
        principal: Principal = NOBODY,
        affinity: tuple[int, ...] = (),
        priority: int = 0,
        afresh: bool = False,
        long: bool = False,
    ) -> Lease:
        """Wait for a runner, for a `holder` who is told what becomes of it.  Cancelling leaves the
        queue at once.

        `keep_alive` is how many seconds the runner stays loaded after this lease: 0 stops it as
        soon as it is idle, scheduler.FOREVER keeps it, None leaves what an earlier lease asked
        for, else what is configured for the model, else `idle_timeout`.  The latest lease that
        names one decides.  Who waits is served fairly between principals, a higher `priority`
        with a head start.  `affinity` are hashes of the request's message prefixes, shortest first:
        it goes to the instance that has seen most of them.  `afresh` tries a model again although
        it has failed a moment ago.  `long` says that it may take long, by what is asked for.

        Raises errors.Overloaded, Draining, InsufficientStorage, BackendFailure (the load failed,
        with the engine's words).
        """
        await self._preparation.prepare(key, model_ref, shares=self._claims.waited_for)
        if afresh:
            self._scheduler.reset(lambda failed: failed == key)
        ticket = next(self._tickets)
        promise = Promise()
        background = priority <= BACKGROUND
        self._claims.wait(ticket, Waiter(key, principal, promise, holder, background))
        try:
            self._actions.carry_out(
                self._scheduler.request(
                    ticket,
                    key,
                    time.monotonic(),
                    keep_alive=keep_alive,
                    client=principal.id,
                    affinity=affinity,
                    priority=priority,
                    long=long,
                )
            )
            if not background:
                self._claims.make_room()
            return await self.recalled(await promise.kept())
        except asyncio.CancelledError:
            # Also when the lease was granted in the very moment of the cancellation.
            self._claims.withdraw(ticket)
            raise
        finally:
            self._claims.leave(ticket)

    async def recalled(self, lease: Lease) -> Lease:
        """Return a lease once its runner has what was kept for its client; cancelled: release."""
        if lease.recalls:
            try:
                await self._slot_persistence.recall_more(lease.runner, lease.principal.id)
            except asyncio.CancelledError:
                lease.release()
                raise
        return lease

    @property
    def job_gate(self) -> JobGate:
        """Where jobs wait for a pause between people."""
        return self._claims.job_gate

    # on view

    def reports(self) -> list[RunnerReport]:
        """Return every runner, and every model that has failed and has none, for `ps`."""
        return self._reports.all()

    def configurations(self) -> list[tuple[ConfigurationKey, ModelConfiguration]]:
        """Every configuration that owners have set, with its key, of models that are here."""
        return list(self._configurations.list())

    def ready_runners(self) -> list[Runner]:
        """Return the runners that should be reachable."""
        return [runner for runner in self._fleet if runner.state is RunnerState.READY]

    def stranded(self) -> int:
        """Return how many requests wait although nothing will answer them: always none.

        For the watchdog: a daemon that has stranded somebody is better restarted.
        """
        return len(self._scheduler.stranded(time.monotonic()))

    def tell_of_losses(self, lost: Callable[[int, BackendFailure], None]) -> None:
        """Have somebody told of each runner, by generation, that is taken away by force."""
        self._claims.lost = lost

    def wanted(self, key: RunnerKey) -> int:
        """How many requests wait for what a runner of a key has: itself, or its room."""
        return self._scheduler.wanted(key)

    @property
    def queued(self) -> int:
        """How many requests wait for a runner."""
        return self._scheduler.queued

    @property
    def draining(self) -> bool:
        """Whether nothing more is admitted, as the daemon ends."""
        return self._scheduler.draining

    # the daemon's life

    def settings_changed(self) -> None:
        """Go on with what the settings say now; no request is dropped, and runners stay."""
        self._preparation.observe(anew=True)
        limits = scheduler_limits(self._settings)
        self._actions.carry_out(self._scheduler.set_limits(limits, time.monotonic()))
        self._claims.job_gate.look()

    def drain(self) -> None:
        """Admit no further request and stop what is idle; returns at once."""
        self._actions.carry_out(self._scheduler.drain())

    async def close(self) -> None:
        """Stop every runner, busy or not, and wait until the last process is gone."""
        self.drain()
        for runner in self._fleet:
            runner.stop_at_once() if self._hurried else runner.stop()
        await self._fleet.wait_empty()
        await self._watch.close()
        await self._slot_persistence.wait_closed()
        self._actions.close()
        self._claims.close()

    def hurry(self) -> None:
        """End without keeping what runners had evaluated, also those that serve until `close`."""
        self._hurried = True
        for runner in self._fleet:
            if runner.state is RunnerState.STOPPING:
                runner.stop_at_once()
