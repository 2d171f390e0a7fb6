"""The scheduler: events in, decisions out.

    instance state   request        release          ready    ended               unload / expiry
    (none)           Start, wait    -                -        -                   -
    STARTING         wait           -                grant    see backoff         Stop, refuse waits
    READY            Grant or wait  idle clock runs  -        retried if wanted   Stop when no lease
    STOPPING         wait           -                -        Start if wanted     -

After every event that may have changed something, two steps: *arrange* (who is started, who makes
room, who has to take no further request because another model's turn has come) and *serve* (grant
whoever can be granted, in the queue's order).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from runnerd.errors import BackendFailure
from runnerd.scheduler.arranging import Arranger
from runnerd.scheduler.budget import Budget, memory
from runnerd.scheduler.decisions import (
    Decision,
    DeviceMemory,
    FailureView,
    Fault,
    Grant,
    Limits,
    Refusal,
    Refuse,
    RunnerKey,
    RunnerView,
    Shape,
    State,
    StopReason,
    Terms,
)
from runnerd.scheduler.pool import Instance, Pool, instances, stop
from runnerd.scheduler.queue import Queue
from runnerd.scheduler.relief import relieve
from runnerd.scheduler.shares import Shares
from runnerd.scheduler.views import failure_views, runner_views, stranded


class Scheduler:
    """Owns the pools, the leases, the budget and the queue of those who wait."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._budget = Budget(self._limits.capacity)
        self._pools: dict[RunnerKey, Pool] = {}
        self._queue = Queue()
        self._shares = Shares(limits.quantum, limits.queue_timeout)
        self._arranger = Arranger(self._pools, self._queue, self._budget, self._shares)
        self._granted: dict[int, tuple[Pool, Instance]] = {}
        self._draining = False

    # what it is told

    def set_limits(self, limits: Limits, now: float) -> list[Decision]:
        """Go on with other limits.  Nobody in the queue is refused because of them."""
        self._limits = limits
        self._budget.places = limits.capacity
        self._shares.turn, self._shares.queue_timeout = limits.quantum, limits.queue_timeout
        return [*self.tick(now), *self._go_on(now)]

    def set_terms(self, key: RunnerKey, terms: Terms) -> None:
        """Say what is known of a pool; it counts from the next decision on.

        To be said before every request that may have to wait: a pool of which nothing is left is
        forgotten, terms and all.
        """
        self._pool(key).terms = terms

    def observe(self, devices: Iterable[DeviceMemory]) -> None:
        """Note the memory of the devices as it is now."""
        held: dict[str, int] = {}
        uncertain: dict[str, int] = {}
        for _, instance in instances(self._pools):
            sure = instance.state is State.READY
            amounts = memory(instance.claims) if instance.held is None else instance.held
            for name, amount in amounts.items():
                sums = held if sure else uncertain
                sums[name] = sums.get(name, 0) + amount
        self._budget.observe(devices, held=held, uncertain=uncertain)

    def estimated(
        self, key: RunnerKey, need: Mapping[str, int], fewer: tuple[Shape, ...] = ()
    ) -> None:
        """Note what each of a pool's instances is to be reckoned with, also those that are there:
        they may have been started without knowing.  `need` and `fewer` are as in the terms.
        """
        pool = self._pools.get(key)
        if pool is not None:
            pool.terms = replace(pool.terms, need=dict(need), fewer=fewer)
            for instance in pool.instances.values():
                pool.reckon(instance)

    def learned(
        self,
        key: RunnerKey,
        generation: int,
        need: Mapping[str, int],
        held: Mapping[str, int] | None = None,
    ) -> None:
        """Note what a ready runner holds now, and what is to be reckoned with from now on.

        `held` is what it takes of the devices' free memory, `need` what it may come to: it replaces
        the estimate for an instance of its shape.
        """
        pool = self._pools.get(key)
        instance = None if pool is None else pool.instances.get(generation)
        if pool is not None and instance is not None and instance.state is State.READY:
            pool.terms = _reshaped(pool.terms, Shape(instance.slots, dict(need)))
            pool.reckon(instance)
            instance.held = held

    def relieve(self, now: float) -> list[Decision]:
        """Stop idle runners where all together hold more than they may (`learned`, `observe`)."""
        return [] if self._draining else relieve(self._pools, self._queue, self._budget, now)

    def reset(self, matches: Callable[[RunnerKey], bool]) -> None:
        """Forget the failures of matching pools: an owner says that they may be tried again."""
        for pool in self._pools.values():
            if matches(pool.key):
                pool.backoff.clear()

    def ensure(self, now: float) -> list[Decision]:
        """Start what is to be resident (`min_instances`) and fits into what is free."""
        return self._go_on(now)

    # requests

    def request(
        self,
        ticket: int,
        key: RunnerKey,
        now: float,
        *,
        keep_alive: float | None = None,
        client: str = "",
        priority: int = 0,
        affinity: tuple[int, ...] = (),
    ) -> list[Decision]:
        """A request wants a runner for `key`, and perhaps that it stays `keep_alive` seconds."""
        instance = self._available(key, affinity)
        if instance is not None:
            pool = self._pools[key]
            pool.came(now, self._shares.loaded_at)
            pool.crowded = pool.crowds(instance, affinity)
            granted = self._grant(ticket, pool, instance, now, keep_alive, affinity)
            return [granted, *self._go_on(now)] if pool.pressed(0) or pool.crowded else [granted]
        if self._draining:
            return [Refuse(ticket, Refusal.DRAINING)]
        pool = self._pool(key)
        if pool.backoff.refuses and now < pool.backoff.retry_at and not pool.alive():
            return [Refuse(ticket, Refusal.FAILING, pool.backoff.failure)]
        if self._budget.over_share(memory(pool.claims())) and not pool.alive():
            return [Refuse(ticket, Refusal.OVER_SHARE)]
        if len(self._queue) >= self._limits.queue_length:
            return [Refuse(ticket, Refusal.QUEUE_FULL)]
        self._begins_to_wait(pool, now)
        self._queue.add(
            ticket,
            key,
            now,
            keep_alive=keep_alive,
            client=client,
            priority=priority,
            affinity=affinity,
        )
        return self._go_on(now)

    def request_at_once(
        self,
        ticket: int,
        key: RunnerKey,
        now: float,
        *,
        keep_alive: float | None = None,
        affinity: tuple[int, ...] = (),
    ) -> Grant | None:
        """Grant a runner that is ready and has room; None, and no trace, if that takes waiting, or
        deciding whether another instance is started.
        """
        instance = self._available(key, affinity)
        if instance is None or (pool := self._pools[key]).crowds(instance, affinity):
            return None
        pool.came(now, self._shares.loaded_at)
        return self._grant(ticket, pool, instance, now, keep_alive, affinity)

    def line_up(
        self,
        ticket: int,
        key: RunnerKey,
        now: float,
        *,
        keep_alive: float | None = None,
        client: str = "",
        affinity: tuple[int, ...] = (),
    ) -> bool:
        """Let a request wait for runners that are in use; False, and no trace, if there is more to
        it than that: a runner to start, another one's place, or a refusal.
        """
        pool = self._pools.get(key)
        if pool is None or self._draining or len(self._queue) >= self._limits.queue_length:
            return False
        waiting = self._queue.count(key)
        if not pool.serving() or pool.pressed(waiting + 1):
            return False
        if not waiting and pool.choose(affinity, self._limits.overcommit) is not None:
            return False
        pool.came(now, self._shares.loaded_at)
        self._queue.add(ticket, key, now, keep_alive=keep_alive, client=client, affinity=affinity)
        return True

    def _available(self, key: RunnerKey, affinity: tuple[int, ...]) -> Instance | None:
        pool = self._pools.get(key)
        if pool is None or self._draining or self._queue.count(key):
            return None
        return pool.choose(affinity, self._limits.overcommit)

    def withdraw(self, ticket: int, now: float) -> list[Decision]:
        """The owner of a ticket has left.  A load that nobody waits for any more is stopped."""
        waiting = self._queue.remove(ticket)
        if waiting is None:
            return self.release(ticket, now)
        return [*self._abandon(self._pools[waiting.key]), *self._go_on(now)]

    def release(self, ticket: int, now: float) -> list[Decision]:
        """A lease has ended; unknown tickets are ignored, so that releasing twice is harmless."""
        pool, instance = self._granted.pop(ticket, (None, None))
        if pool is None or instance is None:
            return []
        instance.leases.discard(ticket)
        instance.used_at = now
        if instance.state is not State.READY:
            return []
        if pool.backoff.failure is not None:
            pool.backoff.answered()
        if instance.leases:  # one place is free, and nobody else has anything of it
            return self._serve(pool, now, most=1) if self._queue.count(pool.key) else []
        if self._draining:
            return [stop(pool, instance, StopReason.DRAINED)]
        pool.idle_since = now
        due = self._arranger.residents_away or pool.keep_alive(self._limits.keep_alive) == 0
        if not self._queue and not due:
            return []
        return [*self._go_on(now), *self.tick(now)]

    # runners

    def ready(self, key: RunnerKey, generation: int, now: float) -> list[Decision]:
        """A runner answers; those who wait for it are granted before anything else is decided."""
        pool = self._pools.get(key)
        instance = None if pool is None else pool.instances.get(generation)
        if pool is None or instance is None or instance.state is not State.STARTING:
            return []
        instance.state = State.READY
        instance.ready_at = instance.used_at = now
        pool.loaded_in(now - instance.started_at)
        pool.backoff.loaded()
        self._shares.loaded_at = now
        pool.alone = False
        pool.idle_since = None if self._queue.count(key) else now
        return [*self._serve(pool, now), *self._go_on(now)]

    def failing(self, key: RunnerKey, generation: int) -> None:
        """A runner is being ended although nobody decided so: it is granted to nobody any more.

        Its leases go on until they are released, or until it has ended.
        """
        pool = self._pools.get(key)
        instance = None if pool is None else pool.instances.get(generation)
        if instance is not None and instance.state is not State.STOPPING:
            instance.state = State.STOPPING
            instance.failing = True

    def ended(
        self,
        key: RunnerKey,
        generation: int,
        failure: BackendFailure | None,
        now: float,
        *,
        fault: Fault = Fault.CRASH,
        jitter: float = 1.0,
    ) -> list[Decision]:
        """A runner's processes are gone.  `failure` is why, None when it was stopped as decided.

        Whoever waited for a load that failed is refused with the failure, since the load is not
        repeated once per waiting request; but a crash is made good once first, and where memory ran
        out while others held some of it, the load is tried once more with the host for itself.
        """
        pool = self._pools.get(key)
        instance = None if pool is None else pool.instances.pop(generation, None)
        if pool is None or instance is None:
            return []
        for ticket in instance.leases:
            self._granted.pop(ticket, None)
        if not pool.instances:
            pool.named = None
        decisions: list[Decision] = []
        if failure is not None and (instance.failing or instance.state is not State.STOPPING):
            decisions += self._failed(pool, instance, failure, fault, now, jitter)
        return [*decisions, *self._go_on(now)]

    def unload(self, matches: Callable[[RunnerKey], bool]) -> list[Decision]:
        """Stop every matching runner that has no lease; those who wait for its load are refused.

        It stays unloaded until somebody asks for it, and its failures are forgotten.
        """
        decisions: list[Decision] = []
        for pool in self._pools.values():
            if not matches(pool.key):
                continue
            pool.backoff.clear()
            pool.held_back = True
            idle = [instance for instance in pool.alive() if not instance.leases]
            if idle and len(idle) == len(pool.alive()):
                decisions += self._refuse_waiting(pool.key, Refusal.UNLOADED, None)
            decisions += [stop(pool, instance, StopReason.UNLOADED) for instance in idle]
        return decisions

    def drain(self) -> list[Decision]:
        """Admit nothing more: refuse who waits, stop what has no lease, the rest when it is
        released.
        """
        self._draining = True
        decisions: list[Decision] = []
        for waiting in self._queue.all():
            self._queue.remove(waiting.ticket)
            decisions.append(Refuse(waiting.ticket, Refusal.DRAINING))
        for pool, instance in instances(self._pools):
            if not instance.leases and instance.state is not State.STOPPING:
                decisions.append(stop(pool, instance, StopReason.DRAINED))
        return decisions

    # time

    def tick(self, now: float) -> list[Decision]:
        """Carry out what was due by `now`: expiries, waits that have been too long, turns."""
        decisions: list[Decision] = []
        for pool, instance in instances(self._pools):
            expiry = pool.expires_at(instance, self._limits.keep_alive)
            if expiry is not None and expiry <= now and not self._queue.count(pool.key):
                decisions.append(stop(pool, instance, StopReason.EXPIRED))
        for waiting in self._queue.all():
            if waiting.since + self._limits.queue_timeout > now:
                break
            self._queue.remove(waiting.ticket)
            decisions.append(Refuse(waiting.ticket, Refusal.QUEUE_TIMEOUT))
            decisions += self._abandon(self._pools[waiting.key])
        if self._arranger.look_again_at is not None and self._arranger.look_again_at <= now:
            decisions += self._go_on(now)
        self._arranger.forget_stale(now, self._limits.queue_timeout)
        return decisions

    def next_deadline(self) -> float | None:
        """Return when `tick` has something to do next, None while nothing is due."""
        due = [
            expiry
            for pool, instance in instances(self._pools)
            if (expiry := pool.expires_at(instance, self._limits.keep_alive)) is not None
            and not self._queue.count(pool.key)
        ]
        if (oldest := self._queue.oldest()) is not None:
            due.append(oldest.since + self._limits.queue_timeout)
        if self._arranger.look_again_at is not None:
            due.append(self._arranger.look_again_at)
        return min(due, default=None)

    def expires_at(self, key: RunnerKey, generation: int) -> float | None:
        """Return when `tick` has something to do because a runner has become idle: it expires if it
        stays unused, or has to make room.  None for never.
        """
        pool = self._pools.get(key)
        instance = None if pool is None else pool.instances.get(generation)
        expiry = None
        if pool is not None and instance is not None:
            expiry = pool.expires_at(instance, self._limits.keep_alive)
        looks = self._arranger.look_again_at
        return expiry if looks is None else looks if expiry is None else min(looks, expiry)

    # on view

    def view(self) -> list[RunnerView]:
        """Return all runners as they stand, in the order of their starts."""
        return runner_views(self._pools, self._queue, self._limits.keep_alive)

    def failures(self) -> list[FailureView]:
        """Return the pools that have failed and have no runner."""
        return failure_views(self._pools)

    def need(self, key: RunnerKey) -> dict[str, int]:
        """Return the bytes per device that an instance of a pool takes at least, as is thought."""
        pool = self._pools.get(key)
        return {} if pool is None else memory(pool.claims())

    def devices(self) -> list[tuple[DeviceMemory, int]]:
        """Return the devices as they were last seen, each with what other programs use of it."""
        budget = self._budget
        return [(device, budget.others(device.id)) for device in budget.devices.values()]

    def busy(self, matches: Callable[[RunnerKey], bool]) -> bool:
        """Return whether a matching runner has a lease or is being loaded for somebody."""
        return any(
            matches(pool.key) and (instance.leases or instance.state is State.STARTING)
            for pool, instance in instances(self._pools)
        )

    @property
    def queued(self) -> int:
        """How many tickets wait."""
        return len(self._queue)

    def waiting(self) -> dict[RunnerKey, int]:
        """Return how many wait for each key that is waited for."""
        return {key: self._queue.count(key) for key in self._queue.keys()}

    def stranded(self, now: float) -> list[int]:
        """Return the tickets that wait although nothing will answer them in time: always none.

        The watchdog's self-check.  A ticket may wait while a runner starts, stops or is in use, or
        until a time that is noted; but not beside a runner that could take it, and not for ever.
        """
        return stranded(
            self._pools,
            self._queue,
            limits=self._limits,
            noted=self._arranger.look_again_at is not None,
            now=now,
        )

    # serving

    def _grant(
        self,
        ticket: int,
        pool: Pool,
        instance: Instance,
        now: float,
        keep_alive: float | None,
        affinity: tuple[int, ...],
    ) -> Grant:
        instance.leases.add(ticket)
        instance.used_at = now
        instance.fresh = False
        if affinity:
            instance.remember(affinity)
        if keep_alive is not None:
            pool.named = keep_alive
        self._granted[ticket] = (pool, instance)
        return Grant(ticket, pool.key, instance.generation)

    def _serve(self, pool: Pool, now: float, *, most: int = sys.maxsize) -> list[Decision]:
        """Grant those who wait for a pool, as far as its instances have room."""
        decisions: list[Decision] = []
        while (first := self._queue.first(pool.key)) is not None:
            instance = pool.choose(first.affinity, self._limits.overcommit)
            if instance is None:
                break
            self._queue.serve(first)
            decisions.append(
                self._grant(first.ticket, pool, instance, now, first.keep_alive, first.affinity)
            )
            if len(decisions) >= most:
                break
        return decisions

    def _go_on(self, now: float) -> list[Decision]:
        """Arrange and serve, until neither changes anything."""
        if self._draining:
            return []
        decisions = self._refuse_over_share()
        decisions += self._arranger.arrange(now)
        for key in self._queue.keys():
            decisions += self._serve(self._pools[key], now)
        return decisions

    # failing

    def _failed(
        self,
        pool: Pool,
        instance: Instance,
        failure: BackendFailure,
        fault: Fault,
        now: float,
        jitter: float,
    ) -> list[Decision]:
        loading = instance.ready_at is None
        out_of_memory = loading and fault is Fault.OUT_OF_MEMORY
        others = [other for other, _ in instances(self._pools) if not other.terms.pinned]
        if out_of_memory and others and not pool.alone:
            pool.alone = True
            return []
        pool.alone = False
        served = None if instance.ready_at is None else now - instance.ready_at
        pool.backoff.record(failure, fault, now, served=served, jitter=jitter)
        if pool.alive() or not pool.backoff.tells:
            return []
        refusal = Refusal.LOAD_FAILED if loading else Refusal.FAILING
        return self._refuse_waiting(
            pool.key, Refusal.NO_MEMORY if out_of_memory else refusal, failure
        )

    def _abandon(self, pool: Pool) -> list[Decision]:
        """Stop a load that nobody waits for and that is not to be resident anyway."""
        alive = pool.alive()
        if self._queue.count(pool.key) or len(alive) <= pool.terms.min_instances:
            return []
        if any(instance.state is State.READY for instance in alive):
            return []
        return [stop(pool, instance, StopReason.ABANDONED) for instance in alive]

    def _refuse_over_share(self) -> list[Decision]:
        """Tell those who wait for what an owner does not let runners have, as is known by now."""
        decisions: list[Decision] = []
        for key in self._queue.keys() if self._budget.has_shares else ():
            pool = self._pools[key]
            if not pool.alive() and self._budget.over_share(memory(pool.claims())):
                decisions += self._refuse_waiting(key, Refusal.OVER_SHARE, None)
        return decisions

    def _refuse_waiting(
        self, key: RunnerKey, refusal: Refusal, failure: BackendFailure | None
    ) -> list[Decision]:
        tickets = self._queue.tickets(key)
        for ticket in tickets:
            self._queue.remove(ticket)
        return [Refuse(ticket, refusal, failure) for ticket in tickets]

    # small parts

    def _begins_to_wait(self, pool: Pool, now: float) -> None:
        was_away = pool.came(now, self._shares.loaded_at)
        if self._queue.count(pool.key) or pool.alive():
            return
        self._shares.settle(now)
        if was_away:
            self._shares.place(pool.account)
        else:
            self._shares.keep_place(pool.account)

    def _pool(self, key: RunnerKey) -> Pool:
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = Pool(key)
        return pool


def _reshaped(terms: Terms, known: Shape) -> Terms:
    """Return terms with what is known of one of their shapes."""
    first, *fewer = (known if shape.slots == known.slots else shape for shape in terms.shapes)
    return replace(terms, need=first.need, fewer=tuple(fewer))
