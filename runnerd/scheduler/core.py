"""The scheduler: events in, decisions out.

    instance state   request        release          ready    ended               unload / expiry
    (none)           Start, wait    -                -        -                   -
    STARTING         wait           -                grant    refuse who waited   Stop, refuse waits
    READY            Grant or wait  idle clock runs  -        retried if wanted   Stop when no lease
    STOPPING         wait           -                -        Start if wanted     -

After every event that may have changed something, two steps: *arrange* (who is started, who makes
room, who has to take no further request because another model's turn has come) and *serve* (grant
whoever can be granted, in the queue's order).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from runnerd.errors import BackendFailure
from runnerd.scheduler.budget import Budget, Room, memory
from runnerd.scheduler.decisions import (
    Decision,
    DeviceMemory,
    FailureView,
    Fault,
    Grant,
    Refusal,
    Refuse,
    RunnerKey,
    RunnerView,
    Start,
    State,
    Stop,
    StopReason,
    Terms,
)
from runnerd.scheduler.pool import Instance, Pool
from runnerd.scheduler.queue import Queue
from runnerd.scheduler.victims import Candidate, choose

_QUANTUM_LOADS = 2.0  # a turn lasts at least so many times the load: swaps cost a third at most


class Scheduler:
    """Owns the pools, the leases, the budget and the queue of those who wait.

    `capacity` is the number of runners that may exist at once (starting and stopping ones count),
    `queue_length` how many tickets may wait, `queue_timeout` for how many seconds, `keep_alive` for
    how many seconds an unused runner stays, unless its terms or the latest lease that named a
    keep-alive say otherwise.  `quantum` is how many seconds a runner in use has before another
    model can claim its room, `overcommit` how many requests per slot an engine gets, 0 for all.
    """

    def __init__(
        self,
        *,
        capacity: int,
        queue_length: int,
        queue_timeout: float,
        keep_alive: float,
        quantum: float = 2.0,
        overcommit: float = 2.0,
    ) -> None:
        self._queue_length = queue_length
        self._queue_timeout = queue_timeout
        self._keep_alive = keep_alive
        self._quantum = quantum
        self._overcommit = overcommit
        self._budget = Budget(capacity)
        self._pools: dict[RunnerKey, Pool] = {}
        self._queue = Queue()
        self._granted: dict[int, tuple[Pool, Instance]] = {}
        self._generation = 0
        self._draining = False
        self._look_again_at: float | None = None

    # what it is told

    def set_limits(
        self,
        *,
        capacity: int,
        queue_length: int,
        queue_timeout: float,
        keep_alive: float,
        now: float,
    ) -> list[Decision]:
        """Go on with other limits.  Nobody in the queue is refused because of them."""
        self._budget.places = capacity
        self._queue_length = queue_length
        self._queue_timeout = queue_timeout
        self._keep_alive = keep_alive
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
        for _, instance in self._instances():
            sums = held if instance.state is State.READY else uncertain
            for name, amount in memory(instance.claims).items():
                sums[name] = sums.get(name, 0) + amount
        self._budget.observe(devices, held=held, uncertain=uncertain)

    def estimated(self, key: RunnerKey, need: Mapping[str, int]) -> None:
        """Note what a pool's instances are thought to need, also for those that load already."""
        pool = self._pools.get(key)
        if pool is not None:
            pool.terms = replace(pool.terms, need=dict(need))
            for instance in pool.instances.values():
                if instance.state is State.STARTING:
                    instance.claims = pool.claims()

    def learned(self, key: RunnerKey, generation: int, held: Mapping[str, int]) -> None:
        """Note what a ready runner really holds; from now on the pool's need."""
        pool = self._pools.get(key)
        instance = None if pool is None else pool.instances.get(generation)
        if pool is not None and instance is not None and instance.state is State.READY:
            pool.terms = replace(pool.terms, need=dict(held))
            instance.claims = pool.claims()

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
        granted = self.request_at_once(ticket, key, now, keep_alive=keep_alive, affinity=affinity)
        if granted is not None:
            pool = self._pools[key]
            return [granted, *self._go_on(now)] if pool.pressed(0) else [granted]
        if self._draining:
            return [Refuse(ticket, Refusal.DRAINING)]
        pool = self._pool(key)
        pool.came(now)
        if pool.backoff.refuses and now < pool.backoff.retry_at and not pool.alive():
            return [Refuse(ticket, Refusal.FAILING, pool.backoff.failure)]
        if len(self._queue) >= self._queue_length:
            return [Refuse(ticket, Refusal.QUEUE_FULL)]
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
        """Grant a runner that is ready and has room; None, and no trace, if that takes waiting."""
        pool = self._pools.get(key)
        if pool is None or self._draining or self._queue.count(key):
            return None
        instance = pool.choose(affinity, self._overcommit)
        if instance is None:
            return None
        pool.came(now)
        return self._grant(ticket, pool, instance, now, keep_alive, affinity)

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
        if instance.leases:
            return self._go_on(now) if self._queue else []
        if self._draining:
            return [_stop(pool, instance, StopReason.DRAINED)]
        pool.idle_since = now
        if not self._queue and pool.keep_alive(self._keep_alive) != 0:
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
        pool.load_seconds = now - instance.started_at
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

        Whoever waited for a load that failed is refused with the failure: the load is not repeated
        once per waiting request.  Only where memory ran out while others held some of it, the load
        is tried once more, with the host for itself.
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
            decisions += [_stop(pool, instance, StopReason.UNLOADED) for instance in idle]
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
        for pool, instance in self._instances():
            if not instance.leases and instance.state is not State.STOPPING:
                decisions.append(_stop(pool, instance, StopReason.DRAINED))
        return decisions

    # time

    def tick(self, now: float) -> list[Decision]:
        """Carry out what was due by `now`: expiries, waits that have been too long, turns."""
        decisions: list[Decision] = []
        for pool, instance in self._instances():
            expiry = pool.expires_at(instance, self._keep_alive)
            if expiry is not None and expiry <= now and not self._queue.count(pool.key):
                decisions.append(_stop(pool, instance, StopReason.EXPIRED))
        for waiting in self._queue.all():
            if waiting.since + self._queue_timeout > now:
                break
            self._queue.remove(waiting.ticket)
            decisions.append(Refuse(waiting.ticket, Refusal.QUEUE_TIMEOUT))
            decisions += self._abandon(self._pools[waiting.key])
        if self._look_again_at is not None and self._look_again_at <= now:
            decisions += self._go_on(now)
        self._forget_stale(now)
        return decisions

    def next_deadline(self) -> float | None:
        """Return when `tick` has something to do next, None while nothing is due."""
        due = [
            expiry
            for pool, instance in self._instances()
            if (expiry := pool.expires_at(instance, self._keep_alive)) is not None
            and not self._queue.count(pool.key)
        ]
        if (oldest := self._queue.oldest()) is not None:
            due.append(oldest.since + self._queue_timeout)
        if self._look_again_at is not None:
            due.append(self._look_again_at)
        return min(due, default=None)

    def expires_at(self, key: RunnerKey, generation: int) -> float | None:
        """Return when one runner expires if it stays unused, None for never."""
        pool = self._pools.get(key)
        instance = None if pool is None else pool.instances.get(generation)
        if pool is None or instance is None:
            return None
        return pool.expires_at(instance, self._keep_alive)

    # on view

    def view(self) -> list[RunnerView]:
        """Return all runners as they stand, in the order of their starts."""
        return [
            RunnerView(
                key=pool.key,
                generation=instance.generation,
                state=instance.state,
                leases=len(instance.leases),
                waiting=self._queue.count(pool.key),
                used_at=instance.used_at,
                keep_alive=pool.keep_alive(self._keep_alive),
                expires_at=pool.expires_at(instance, self._keep_alive),
                reserved=memory(instance.claims),
                slots=pool.terms.slots,
                pinned=pool.terms.pinned,
                yields=instance.yields,
            )
            for pool, instance in sorted(self._instances(), key=lambda pair: pair[1].generation)
        ]

    def failures(self) -> list[FailureView]:
        """Return the pools that have failed and have no runner."""
        return [
            FailureView(
                key=pool.key,
                failure=pool.backoff.failure,
                failures=pool.backoff.failures,
                failed_at=pool.backoff.failed_at,
                retry_at=pool.backoff.retry_at,
                refuses=pool.backoff.refuses,
            )
            for pool in self._pools.values()
            if pool.backoff.failure is not None and not pool.instances
        ]

    def need(self, key: RunnerKey) -> dict[str, int]:
        """Return the bytes per device that the next instance of a pool is thought to take."""
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
            for pool, instance in self._instances()
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
        moving = any(
            instance.leases or instance.state is not State.READY
            for _, instance in self._instances()
        )
        noted = self._look_again_at is not None
        return [
            waiting.ticket
            for waiting in self._queue.all()
            if not (moving or noted)
            or waiting.since + self._queue_timeout < now
            or self._pools[waiting.key].choose(waiting.affinity, self._overcommit) is not None
        ]

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
        if affinity:
            instance.remember(affinity)
        if keep_alive is not None:
            pool.named = keep_alive
        self._granted[ticket] = (pool, instance)
        return Grant(ticket, pool.key, instance.generation)

    def _serve(self, pool: Pool, now: float) -> list[Decision]:
        """Grant those who wait for a pool, as far as its instances have room."""
        decisions: list[Decision] = []
        while (first := self._queue.first(pool.key)) is not None:
            instance = pool.choose(first.affinity, self._overcommit)
            if instance is None:
                break
            self._queue.serve(first)
            decisions.append(
                self._grant(first.ticket, pool, instance, now, first.keep_alive, first.affinity)
            )
        return decisions

    def _go_on(self, now: float) -> list[Decision]:
        """Arrange and serve, until neither changes anything."""
        if self._draining:
            return []
        decisions = self._arrange(now)
        for key in self._queue.keys():
            decisions += self._serve(self._pools[key], now)
        return decisions

    # arranging

    def _arrange(self, now: float) -> list[Decision]:
        """Start what is waited for and fits, in the queue's order; see that the rest gets room."""
        self._look_again_at = None
        room = Room(
            self._budget,
            [instance.claims for _, instance in self._instances()],
            [item.claims for _, item in self._instances() if item.state is State.STOPPING],
        )
        for _, instance in self._instances():
            instance.yields = False
        decisions: list[Decision] = []
        claimed: set[int] = set()
        for pool in self._wanted():
            if now < pool.backoff.retry_at:
                self._note(pool.backoff.retry_at)
            elif not pool.alone and room.fits(claims := pool.claims()):
                decisions.append(self._start(pool, claims, now))
                room.take(claims)
            else:
                decisions += self._make_room(pool, room, claimed, now)
        return [*decisions, *self._grow(room, now)]

    def _wanted(self) -> Iterator[Pool]:
        """Yield the pools that are waited for and have no runner at all."""
        for key in self._queue.keys():
            if not self._pools[key].instances:
                yield self._pools[key]

    def _grow(self, room: Room, now: float) -> list[Decision]:
        """Start further instances, of what is free and never at the expense of others."""
        decisions: list[Decision] = []
        for pool in self._pools.values():
            few = len(pool.instances) < pool.terms.min_instances and not pool.held_back
            if not (few or pool.pressed(self._queue.count(pool.key))):
                continue
            if now < pool.backoff.unasked_at:
                self._note(pool.backoff.unasked_at)
                continue
            claims = pool.claims()
            while room.fits(claims) and (few or pool.pressed(self._queue.count(pool.key))):
                decisions.append(self._start(pool, claims, now))
                room.take(claims)
                few = len(pool.instances) < pool.terms.min_instances
        return decisions

    def _start(self, pool: Pool, claims: Mapping[str, int], now: float) -> Start:
        self._generation += 1
        pool.instances[self._generation] = Instance(
            self._generation, State.STARTING, claims, started_at=now, used_at=now
        )
        return Start(pool.key, self._generation)

    def _make_room(self, pool: Pool, room: Room, claimed: set[int], now: float) -> list[Decision]:
        """Send away who has to go for `pool`, and keep what becomes free for it.

        Nobody who comes later can take that room, however small: or a stream of small models would
        starve a big one.
        """
        claims = pool.claims()
        candidates = [
            candidate
            for candidate in self._candidates(pool, now)
            if candidate.instance.generation not in claimed
        ]
        lack = claims if pool.alone else room.lack(claims)
        chosen = None if pool.alone else choose(lack, candidates, now)
        if chosen is None:
            short = room.short(claims)
            holders = self._holders(pool, [*short, *lack])
            if not holders and not any(name.startswith("#") for name in short):
                # It does not fit by its estimate.  The engine has the last word on that.
                room.take(claims)
                return [self._start(pool, claims, now)]
            moving = any(instance.state is not State.READY for instance in holders)
            chosen = [] if moving else [item for item in candidates if item.instance in holders]
        decisions: list[Decision] = []
        for candidate in chosen:
            claimed.add(candidate.instance.generation)
            room.expect(candidate.instance.claims)
            decisions += self._send_away(candidate, now)
        room.set_aside(claims)
        return decisions

    def _candidates(self, wanting: Pool, now: float) -> list[Candidate]:
        found = []
        for pool, instance in self._instances():
            if pool is wanting or pool.terms.pinned or instance.state is not State.READY:
                continue
            if instance.idle and not self._queue.count(pool.key):
                free_at = min(pool.hopeful_until(instance), self._turn_ends_at(pool, instance))
            else:
                free_at = self._turn_ends_at(pool, instance)
            found.append(Candidate(pool, instance, free_at))
        return found

    def _send_away(self, candidate: Candidate, now: float) -> list[Decision]:
        """Stop a runner whose turn is over, or let it finish what it does and take nothing more."""
        if candidate.free_at > now:
            self._note(candidate.free_at)
            return []
        if candidate.instance.idle:
            return [_stop(candidate.pool, candidate.instance, StopReason.EVICTED)]
        candidate.instance.yields = True
        return []

    def _turn_ends_at(self, pool: Pool, instance: Instance) -> float:
        assert instance.ready_at is not None
        return instance.ready_at + max(self._quantum, _QUANTUM_LOADS * pool.load_seconds)

    def _holders(self, wanting: Pool, names: Iterable[str]) -> list[Instance]:
        """Return the runners that hold something of what is missing and could be without it."""
        return [
            instance
            for pool, instance in self._instances()
            if pool is not wanting
            and not pool.terms.pinned
            and any(instance.claims.get(name, 0) for name in names)
        ]

    # failing and forgetting

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
        others = [other for other, _ in self._instances() if not other.terms.pinned]
        if out_of_memory and others and not pool.alone:
            pool.alone = True
            return []
        pool.alone = False
        served = None if instance.ready_at is None else now - instance.ready_at
        pool.backoff.record(failure, fault, now, served=served, jitter=jitter)
        if pool.alive() or not (loading or pool.backoff.refuses):
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
        return [_stop(pool, instance, StopReason.ABANDONED) for instance in alive]

    def _refuse_waiting(
        self, key: RunnerKey, refusal: Refusal, failure: BackendFailure | None
    ) -> list[Decision]:
        tickets = self._queue.tickets(key)
        for ticket in tickets:
            self._queue.remove(ticket)
        return [Refuse(ticket, refusal, failure) for ticket in tickets]

    def _forget_stale(self, now: float) -> None:
        """Drop pools of which nothing is left to know."""
        stale = [
            pool.key
            for pool in self._pools.values()
            if not pool.instances
            and not pool.terms.min_instances
            and not self._queue.count(pool.key)
            and pool.backoff.stale(now)
            and (pool.idle_since is None or pool.idle_since + self._queue_timeout < now)
        ]
        for key in stale:
            del self._pools[key]

    # small parts

    def _pool(self, key: RunnerKey) -> Pool:
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = Pool(key)
        return pool

    def _instances(self) -> Iterator[tuple[Pool, Instance]]:
        for pool in self._pools.values():
            for instance in pool.instances.values():
                yield pool, instance

    def _note(self, when: float) -> None:
        """Remember to look again at a time."""
        if self._look_again_at is None or when < self._look_again_at:
            self._look_again_at = when


def _stop(pool: Pool, instance: Instance, reason: StopReason) -> Stop:
    instance.state = State.STOPPING
    return Stop(pool.key, instance.generation, reason)
