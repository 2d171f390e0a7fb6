"""The supervisor.

Every event (a request, a release, a runner that is ready or has ended, a deadline) goes to the
scheduler and its decisions are carried out here, at once and in order.  Nothing in here waits
while it holds anything: starting and stopping are tasks of the runners themselves.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from runnerd import tasks
from runnerd.backends.interface import Backend, BackendMode, EngineFailure
from runnerd.config import Settings
from runnerd.configurations import ConfigurationKey, Configurations, ModelConfiguration
from runnerd.errors import BackendFailure, BackendNotFound, Conflict, ModelDeleted
from runnerd.runner import Runner, RunnerState
from runnerd.saved_slots import SavedSlots
from runnerd.scheduler import (
    Decision,
    Grant,
    Refusal,
    Refuse,
    RunnerKey,
    Scheduler,
    Start,
    Stop,
)
from runnerd.sockets.paths import RuntimeDirectory
from runnerd.supervisor.alarm import Alarm
from runnerd.supervisor.crowds import Crowds
from runnerd.supervisor.fleet import Fleet
from runnerd.supervisor.foresight import Foresight
from runnerd.supervisor.generation import Generation
from runnerd.supervisor.lease import Claimant, Lease, Promise, Waiter
from runnerd.supervisor.limits import scheduler_limits
from runnerd.supervisor.memory import HostMemory, MemoryAccounts
from runnerd.supervisor.orders import Orders
from runnerd.supervisor.preparation import Preparation
from runnerd.supervisor.recollection import MOST_CLIENTS, Recollection
from runnerd.supervisor.refusals import (
    fault_of,
    memory_account,
    refusal_error,
    share_account,
)
from runnerd.supervisor.reports import RunnerReport, failure_report, report
from runnerd.supervisor.sharing import Sharing
from runnerd.supervisor.watching import MemoryWatch
from runnerd.supervisor.widths import Widths

log = logging.getLogger(__name__)

_JITTER = (0.8, 1.2)  # of a delay before a failed model is tried again


class Supervisor:
    """Owns the runners.  It is the `runner.Watcher` of each of them."""

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
        self._backends = backends
        self._configurations = configurations
        self._memory = MemoryAccounts(settings, backends, host)
        self._scheduler = Scheduler(scheduler_limits(settings))
        self._tickets = itertools.count(1)
        self._waiters: dict[int, Waiter] = {}
        self._decided: deque[Decision] = deque()  # and not yet carried out
        self._acting = False
        self._leases: dict[int, Lease] = {}
        self._sharing = Sharing(settings, configurations, load_of=load_of, loaded_as=loaded_as)
        self._widths = Widths(settings, backends, self._sharing, self._scheduler)
        self._orders = Orders(
            lambda key: name_of(self._sharing.models(key)[0]), self._widths.configuration
        )
        self._fleet = Fleet(backends, directory)
        self._orphans: set[int] = set()  # generations whose files were deleted under them
        self._crowds = Crowds(self._fleet, self._leases)
        self._foresight = Foresight(backends, self._memory)
        self._preparation = Preparation(
            self._scheduler,
            backends,
            self._sharing,
            memory=self._memory,
            orders=self._orders,
            fleet=self._fleet,
            foresight=self._foresight,
        )
        self.recollection = Recollection(settings, slots)
        self._watch = MemoryWatch(self._look)
        self._alarm = Alarm(self._scheduler.next_deadline, self._tick)

    # leases

    def backend(self, name: str | None) -> Backend:
        """Return a backend by name, the default one for None.  Raises errors.BackendNotFound."""
        backend = self._backends.get(name or self._settings.default_backend)
        if backend is None:
            known = ", ".join(sorted(self._backends)) or "none"
            raise BackendNotFound(f"backend not found: {name!r} (there is: {known})")
        return backend

    @property
    def revision(self) -> int:
        """Another number whenever `key` may return something else for the same model."""
        return self._widths.revision

    def key(
        self, backend: Backend, model: str, mode: BackendMode, *, context: int | None = None
    ) -> RunnerKey:
        """Return the key of the runner for `model`, with `context` tokens where that is asked."""
        return self._widths.key(backend.name, model, mode, context)

    def context(self, key: RunnerKey) -> int:
        """Return the tokens of context that a runner has, 0 where nobody knows."""
        return self._widths.context(key)

    def configuration(self, key: RunnerKey, model: str) -> ModelConfiguration:
        """Return what owners configured for a model that runners of this key serve."""
        return self._configurations.effective(key.backend, model, BackendMode(key.mode))[0]

    def spreads(self, key: RunnerKey) -> bool:
        """Say whether there may be several instances of a runner."""
        return self._sharing.kept(key).max_instances > 1

    def serves(self, key: RunnerKey, model: str) -> bool:
        """Say whether a model's requests may go to a runner of this key."""
        return self._sharing.serves(key, model)

    def lease_at_once(
        self,
        key: RunnerKey,
        *,
        client: str = "",
        keep_alive: float | None = None,
        affinity: tuple[int, ...] = (),
    ) -> Lease | None:
        """Return a lease if a runner is ready, None if it would take waiting.

        One that `recalls` is worth waiting for (`recalled`).  The arguments are as in `lease`.
        """
        ticket = next(self._tickets)
        granted = self._scheduler.request_at_once(
            ticket, key, time.monotonic(), keep_alive=keep_alive, affinity=affinity
        )
        return None if granted is None else self._lease(granted, client)

    def line_up(
        self,
        key: RunnerKey,
        claimant: Claimant,
        *,
        client: str = "",
        keep_alive: float | None = None,
        affinity: tuple[int, ...] = (),
    ) -> int | None:
        """Let a claimant wait for a runner that is in use; return the ticket to `leave` with.

        None where that takes more than waiting: `lease` does it.  The arguments are as there.
        """
        ticket, now = next(self._tickets), time.monotonic()
        if not self._scheduler.line_up(
            ticket, key, now, keep_alive=keep_alive, client=client, affinity=affinity
        ):
            return None
        self._waiters[ticket] = Waiter(key, client, claimant)
        if not self._alarm.wakes_by(now + self._settings.queue_timeout):
            self._alarm.arm()
        return ticket

    def leave(self, ticket: int) -> None:
        """Wait no more; harmless once the claimant has been told something."""
        if self._waiters.pop(ticket, None) is not None:
            self._carry_out(self._scheduler.withdraw(ticket, time.monotonic()))

    async def lease(
        self,
        key: RunnerKey,
        model_ref: str,
        *,
        keep_alive: float | None = None,
        client: str = "",
        priority: int = 0,
        affinity: tuple[int, ...] = (),
        afresh: bool = False,
    ) -> Lease:
        """Wait for a runner.  Cancelling leaves the queue at once.

        `keep_alive` is how many seconds the runner stays loaded after this lease: 0 stops it as
        soon as it is idle, scheduler.FOREVER keeps it, None leaves what an earlier lease asked
        for, else what is configured for the model, else `idle_timeout`.  The latest lease that
        names one decides.  Who waits is served fairly between `client`s, a higher `priority` with
        a head start.  `affinity` are hashes of the request's message prefixes, shortest first: it
        goes to the instance that has seen most of them.  `afresh` tries a model again although it
        has failed a moment ago.

        Raises errors.Overloaded, Draining, InsufficientStorage, BackendFailure (the load failed,
        with the engine's words).
        """
        await self._prepare(key, model_ref)
        if afresh:
            self._scheduler.reset(lambda failed: failed == key)
        ticket = next(self._tickets)
        promise = Promise()
        self._waiters[ticket] = Waiter(key, client, promise)
        try:
            self._carry_out(
                self._scheduler.request(
                    ticket,
                    key,
                    time.monotonic(),
                    keep_alive=keep_alive,
                    client=client,
                    priority=priority,
                    affinity=affinity,
                )
            )
            return await self.recalled(await promise.kept())
        except asyncio.CancelledError:
            # Also when the lease was granted in the very moment of the cancellation.
            self._leases.pop(ticket, None)
            self._carry_out(self._scheduler.withdraw(ticket, time.monotonic()))
            raise
        finally:
            self._waiters.pop(ticket, None)

    async def recalled(self, lease: Lease) -> Lease:
        """Return a lease once its runner has what was kept for its client.

        Cancelling releases it.
        """
        if lease.recalls:
            try:
                await self.recollection.recall_more(lease.runner, lease.client)
            except asyncio.CancelledError:
                lease.release()
                raise
        return lease

    async def _prepare(self, key: RunnerKey, model_ref: str | None) -> None:
        await self._preparation.prepare(key, model_ref, shares=bool(self._waiters))

    def _lease(self, granted: Grant, client: str) -> Lease:
        runner = self._fleet[granted.generation]
        recalls = False
        if client not in runner.clients and len(runner.clients) <= MOST_CLIENTS:
            runner.clients.add(client)
            recalls = self.recollection.awaits(runner, client)
        lease = Lease(runner, granted, self._release, client, recalls)
        self._leases[granted.ticket] = lease
        self._crowds.leased()
        return lease

    def _release(self, lease: Lease) -> None:
        if self._leases.pop(lease.ticket, None) is None:
            return
        decisions = self._scheduler.release(lease.ticket, time.monotonic())
        if decisions:
            self._act_on(decisions)
            if len(decisions) == 1 and isinstance(decisions[0], Grant):
                return  # to the next in line: no deadline has come nearer
            self._alarm.arm()
        # Mostly it is armed early enough: releases end here, however many runners there are.
        elif not self._alarm.wakes_by(self._scheduler.expires_at(lease.key, lease.generation)):
            self._alarm.arm()

    # owners' commands

    async def unload(self, *, backend: str | None = None, models: set[str] | None = None) -> int:
        """Stop the idle runners of `models` (None: of every model), wait until they are gone.

        Returns how many there were; busy ones stay.
        """
        loads = None if models is None else {self._sharing.load_of(model) for model in models}

        def matches(key: RunnerKey) -> bool:
            return (not backend or key.backend == backend) and (loads is None or key.model in loads)

        return await self._stop_idle(matches)

    async def unload_model(self, model: str, *, force: bool) -> None:
        """Stop every runner of a model whose files are to be deleted, and wait until they are gone.

        Raises errors.Conflict when one is in use, unless `force` ends those requests.
        """
        load = self._sharing.load_of(model)
        if self._scheduler.busy(lambda key: key.model == load) and not force:
            raise Conflict("the model is in use; try again later, or delete with force")
        ending = self._fleet.matching(lambda key: key.model == load)
        gone = BackendFailure("the model was unloaded while it answered")
        runners = [self._fleet[generation] for generation in ending]
        for generation in ending:
            self.failing(generation, gone)
        for runner in runners:
            runner.stop(at_once=True)
        for runner in runners:
            await runner.wait_ended()

    async def configure(
        self, key: ConfigurationKey, changes: dict[str, object], *, force: bool = False
    ) -> None:
        """Change a model's configuration; an idle runner that has the old one is stopped.

        Raises errors.InvalidConfiguration, also for what is unwise or cannot be had here unless it
        is to be done by `force`; Conflict when such a runner is in use.
        """
        backend = self.backend(key.backend)
        configuration = self._configurations.merged(key, changes)
        await backend.check_configuration(key.model, configuration, key.mode)
        in_force, fingerprint = self._configurations.effective(key.backend, key.model, key.mode)
        if configuration.fingerprint() == fingerprint:
            await self._configurations.set(key, changes)
            self._orders.forget(
                self._sharing.load_of(key.model)
            )  # what is preloaded counts from the next start on
            self._keep_as_configured()
            await self.make_resident()
            return

        if not force:
            await self._foresight.check(key, configuration, in_force)
        load = self._sharing.load_of(key.model)

        def affected(runner: RunnerKey) -> bool:
            return (
                runner.backend == key.backend
                and runner.model == load
                and (runner.mode == key.mode.value or key.mode is BackendMode.COMPLETION)
                and not self._sharing.is_wanted(runner, but=key.model)
            )

        if self._scheduler.busy(affected):
            raise Conflict("runner already active: unload the model, or wait until it is idle")
        await self._configurations.set(key, changes)
        await self._stop_idle(affected)
        await self.make_resident()

    def _keep_as_configured(self) -> None:
        """Let the runners that are there live as long as is configured now."""
        for key in self._fleet.keys():
            self._scheduler.set_terms(key, self._preparation.terms(key))
        now = time.monotonic()
        self._carry_out([*self._scheduler.tick(now), *self._scheduler.ensure(now)])

    async def make_resident(self) -> None:
        """Start what owners want to have loaded (`min_instances`), as far as it fits; does not
        wait for the loads.
        """
        for stored, configuration in self._configurations.list():
            if configuration.min_instances and stored.backend in self._backends:
                key = self.key(self._backends[stored.backend], stored.model, stored.mode)
                await self._prepare(key, None)
        self._carry_out(self._scheduler.ensure(time.monotonic()))

    async def _stop_idle(self, matches: Callable[[RunnerKey], bool]) -> int:
        decisions = self._scheduler.unload(matches)
        stopping = [self._fleet[stop.generation] for stop in decisions if isinstance(stop, Stop)]
        self._carry_out(decisions)
        for runner in stopping:
            await runner.wait_ended()
        return len(stopping)

    def configurations(self) -> list[tuple[ConfigurationKey, ModelConfiguration]]:
        """Return what owners configured."""
        return list(self._configurations.list())

    async def forget(self, model: str, load: str, *, shared: bool) -> None:
        """Drop what was configured and kept for a deleted model.

        `load` is what its engine was started with; with `shared`, other models have that, too.
        """
        await self._configurations.forget(model)
        self._sharing.forget(model)
        self._orders.forget(load)  # they may be called as the model was
        if shared:
            self._keep_as_configured()
            return
        self._orphans.update(self._fleet.matching(lambda key: key.model == load))
        self._scheduler.reset(lambda key: key.model == load)
        self._memory.forget(load)
        self._widths.forget(load)
        await self.recollection.forget(load)

    def settings_changed(self) -> None:
        """Go on with what the settings say now; no request is dropped, and runners stay."""
        self._preparation.observe(anew=True)
        limits = scheduler_limits(self._settings)
        self._carry_out(self._scheduler.set_limits(limits, time.monotonic()))

    # on view

    def reports(self) -> list[RunnerReport]:
        """Return every runner, and every model that has failed and has none, for `ps`."""
        offset = time.time() - time.monotonic()
        models = self._sharing.models
        runners = [
            report(
                view,
                self._fleet[view.generation],
                self._orders.name(view.key),
                models(view.key),
                offset=offset,
                context=self._widths.context(view.key),
            )
            for view in self._scheduler.view()
        ]
        waiting = self._scheduler.waiting()
        failures = [
            failure_report(
                view,
                self._orders.name(view.key),
                models(view.key),
                waiting=waiting,
                offset=offset,
            )
            for view in self._scheduler.failures()
        ]
        return runners + failures

    def runner(self, id: str) -> tuple[RunnerKey, Runner]:
        """Return a runner by the id that `ps` shows.  Raises errors.RunnerNotFound."""
        return self._fleet.find(id)

    def ready_runners(self) -> list[Runner]:
        """Return the runners that should be reachable."""
        return [runner for runner in self._fleet if runner.state is RunnerState.READY]

    def stranded(self) -> int:
        """Return how many requests wait although nothing will answer them: always none.

        For the watchdog: a daemon that has stranded somebody is better restarted.
        """
        return len(self._scheduler.stranded(time.monotonic()))

    @property
    def queued(self) -> int:
        """How many requests wait for a runner."""
        return self._scheduler.queued

    # the end

    def drain(self) -> None:
        """Admit no further request and stop what is idle; returns at once."""
        self._carry_out(self._scheduler.drain())

    async def close(self) -> None:
        """Stop every runner, busy or not, and wait until the last process is gone."""
        self.drain()
        for runner in self._fleet:
            runner.stop()
        await self._fleet.wait_empty()
        await self._watch.close()
        await self.recollection.wait_closed()
        self._alarm.cancel()
        self._crowds.close()

    def hurry(self) -> None:
        """Nothing more is worth waiting for: end without keeping what runners had evaluated."""
        for runner in self._fleet:
            if runner.state is RunnerState.STOPPING:
                runner.stop(at_once=True)

    # carrying out

    def _carry_out(self, decisions: list[Decision]) -> None:
        self._act_on(decisions)
        self._alarm.arm()

    def _act_on(self, decisions: list[Decision]) -> None:
        """Do what was decided, in that order.

        Whoever is granted a lease may give it back at once, and the next one may, and so on: what
        is decided meanwhile is done afterwards, not within.
        """
        self._decided += decisions
        if self._acting:
            return
        self._acting = True
        try:
            while self._decided:
                self._act(self._decided.popleft())
        finally:
            self._acting = False

    def _act(self, decision: Decision) -> None:
        match decision:
            case Grant():
                self._grant(decision)
            case Refuse():
                self._refuse(decision)
            case Start(key, generation, slots):
                self._start(key, generation, slots)
            case Stop(_, generation, reason):
                runner = self._fleet[generation]
                log.info("stopping runner %s: %s", runner.name, reason.value)
                runner.stop()

    def _grant(self, granted: Grant) -> None:
        waiter = self._waiters.pop(granted.ticket, None)
        if waiter is None:  # its owner has left meanwhile
            self._carry_out(self._scheduler.release(granted.ticket, time.monotonic()))
        else:
            waiter.claimant.granted(self._lease(granted, waiter.client))

    def _refuse(self, refused: Refuse) -> None:
        waiter = self._waiters.pop(refused.ticket, None)
        if waiter is None:
            return
        failure = refused.failure
        views = self._scheduler.failures()
        trouble = next((view for view in views if failure and view.failure is failure), None)
        account = ""
        if trouble is not None and refused.refusal is Refusal.NO_MEMORY:
            key = trouble.key
            account = memory_account(
                self._scheduler.need(key),
                self._scheduler.devices(),
                self.reports(),
                slots=self._preparation.terms(key).shapes[-1].slots,
                context=self.context(key),
            )
        elif refused.refusal is Refusal.OVER_SHARE:
            account = share_account(self._scheduler.need(waiter.key), self._scheduler.devices())
        waiter.claimant.refused(
            refusal_error(
                refused.refusal, failure, trouble=trouble, now=time.monotonic(), account=account
            )
        )

    def _start(self, key: RunnerKey, generation: int, slots: int | None) -> None:
        watcher = Generation(self, key, generation)
        try:
            self._fleet.start(
                key,
                generation,
                self._orders.of(key, slots=slots),
                self._settings,
                watcher,
                ram_limit=self._preparation.ram_limit(generation),
            )
        except Exception as error:  # whatever it is, those who wait are told
            log.exception("a runner of %s could not be made", key.model)
            failure = EngineFailure(f"no runner could be made: {error}", loading=True)
            self._carry_out(self._after(key, generation, failure))

    # what runners say

    def ready(self, key: RunnerKey, generation: int) -> None:
        """A runner answers."""
        self._carry_out(self._scheduler.ready(key, generation, time.monotonic()))
        if self._memory.counts:
            tasks.spawn(self._learn(key, generation), name=f"footprint {key.model}")
            self._watch.wake()

    def clients_waiting(self, key: RunnerKey) -> set[str]:
        """Return who waits for a runner of this key, as far as that is known."""
        return {waiter.client for waiter in self._waiters.values() if waiter.key == key} - {""}

    async def _learn(self, key: RunnerKey, generation: int) -> bool:
        """Look at what a runner holds, reckon with it, and return whether that is news."""
        runner = self._fleet[generation]
        slots = runner.order.configuration.parallel
        before = self._memory.known(key, slots)
        holding = await self._memory.learn(key, runner)
        if holding is None:
            return False
        runner.mapped = holding.mapped
        known = self._memory.known(key, slots)
        self._scheduler.learned(key, generation, known, holding.devices)
        return known != before

    async def _look(self) -> bool | None:
        """Look at all ready runners: their reservations and limits follow what they hold, and idle
        ones go where all together hold more than they may.
        """
        if not self._fleet:
            return None
        changed = False
        for generation in self._fleet.matching(lambda key: True):
            runner = self._fleet.get(generation)
            if runner is not None and runner.state is RunnerState.READY:
                changed |= await self._learn(self._fleet.key(generation), generation)
        self._preparation.observe(anew=True)
        self._preparation.limit_engines()
        decisions = self._scheduler.relieve(time.monotonic())
        self._carry_out(decisions)
        return changed or bool(decisions)

    def retiring(self, generation: int) -> None:
        """Nobody gets a runner any more; its requests go on."""
        self._scheduler.failing(self._fleet.key(generation), generation)

    def failing(self, generation: int, failure: BackendFailure) -> None:
        """A runner will be killed: nobody gets it any more, and its requests are told."""
        self.retiring(generation)
        for lease in list(self._leases.values()):
            if lease.generation == generation and lease.revoked is not None:
                lease.revoked(failure)

    def ended(self, key: RunnerKey, generation: int, failure: BackendFailure | None) -> None:
        """A runner's last process is gone."""
        runner = self._fleet[generation]
        if failure is not None:
            log.warning("runner of %s failed: %s", runner.order.model_ref, failure.message)
            if generation in self._orphans or not self._sharing.is_here(key):
                failure = ModelDeleted(f"model {runner.order.model_ref!r} was deleted meanwhile")
        decisions = self._after(key, generation, failure)
        if isinstance(failure, ModelDeleted):  # one that comes under its name starts afresh
            self._scheduler.reset(lambda each: each == key)
        self._orphans.discard(generation)
        self._fleet.remove(generation)
        self._crowds.ended(generation)
        try:
            self.recollection.ended(runner)
            self._preparation.observe()
        except Exception:  # a favour, and a look: nothing that others have to wait for
            log.exception("after the end of runner %s", runner.name)
        self._carry_out(decisions)
        self._orders.prune(self._in_use)

    def _after(
        self, key: RunnerKey, generation: int, failure: BackendFailure | None
    ) -> list[Decision]:
        """Decide what to do after the end of a runner."""
        now = time.monotonic()
        if failure is None:
            return self._scheduler.ended(key, generation, None, now)
        fault, jitter = fault_of(failure), random.uniform(*_JITTER)
        return self._scheduler.ended(key, generation, failure, now, fault=fault, jitter=jitter)

    def _in_use(self) -> set[RunnerKey]:
        """Return what a runner, a waiting request or a failure refers to."""
        keys = self._fleet.keys() | self._scheduler.waiting().keys()
        return keys | {view.key for view in self._scheduler.failures()}

    def heard_at(self, generation: int) -> float | None:
        """Return when a runner last sent something, None while it is not in use."""
        heard = [
            0.0 if lease.heard_at is None else lease.heard_at()
            for lease in self._leases.values()
            if lease.generation == generation
        ]
        return max(heard, default=None)

    def _tick(self) -> None:
        self._carry_out(self._scheduler.tick(time.monotonic()))
