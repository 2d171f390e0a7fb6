"""Who is started, who makes room, and who has to take no further request.

The pools that are waited for are gone through in the queue's order.  One that fits is started.  For
one that does not, runners have to go: idle ones at once, busy ones when their turn is over; and
what becomes free is kept for it, so that nobody who comes later can take it, however small.  A
model that is bigger than the host by its estimate is started when it has the host for itself: the
engine has the last word on what fits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from runnerd.scheduler.budget import Budget, Room
from runnerd.scheduler.decisions import Decision, RunnerKey, Shape, Start, State, StopReason
from runnerd.scheduler.pool import Instance, Pool, instances, stop
from runnerd.scheduler.queue import Queue
from runnerd.scheduler.shaping import fitting_shape
from runnerd.scheduler.victims import Candidate, choose

_QUANTUM_LOADS = 2.0  # a turn lasts at least so many times the load: swaps cost a third at most


class Arranger:
    """Decides about room.  It shares pools and queue with the scheduler, which owns them.

    `look_again_at` is when the next round can decide more than the last one could, None if no time
    alone changes anything; `quantum` how long a turn lasts at least, in seconds.
    """

    def __init__(
        self, pools: dict[RunnerKey, Pool], queue: Queue, budget: Budget, quantum: float
    ) -> None:
        self._pools = pools
        self._queue = queue
        self._budget = budget
        self.quantum = quantum
        self._generation = 0
        self.look_again_at: float | None = None

    def arrange(self, now: float) -> list[Decision]:
        """Start what is waited for and fits, in the queue's order; see that the rest gets room."""
        self.look_again_at = None
        room = Room(
            self._budget,
            [instance.claims for _, instance in instances(self._pools)],
            [item.claims for _, item in instances(self._pools) if item.state is State.STOPPING],
        )
        for _, instance in instances(self._pools):
            instance.yields = False
        decisions: list[Decision] = []
        claimed: set[int] = set()
        for pool in self._wanted():
            if now < pool.backoff.retry_at:
                self._note(pool.backoff.retry_at)
            elif (
                not pool.alone
                and (shape := fitting_shape(pool, self._pools.values(), room)) is not None
            ):
                decisions.append(self._start(pool, shape, room, now))
            else:
                decisions += self._make_room(pool, room, claimed, now)
                if pool.alone:  # whatever started now would be in its way again
                    return decisions
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
            wanted = self._wants_more(pool) or pool.crowded
            pool.crowded = False  # whether there is room or not: one try for each such request
            if wanted and now < pool.backoff.unasked_at:
                self._note(pool.backoff.unasked_at)
                continue
            while wanted and (shape := fitting_shape(pool, self._pools.values(), room)) is not None:
                decisions.append(self._start(pool, shape, room, now))
                wanted = self._wants_more(pool)
        return decisions

    def _wants_more(self, pool: Pool) -> bool:
        few = len(pool.instances) < pool.terms.min_instances and not pool.held_back
        return few or pool.pressed(self._queue.count(pool.key))

    def _start(self, pool: Pool, shape: Shape, room: Room, now: float) -> Start:
        claims = pool.claims(shape)
        room.take(claims)
        self._generation += 1
        pool.instances[self._generation] = Instance(
            self._generation, State.STARTING, claims, started_at=now, used_at=now, slots=shape.slots
        )
        return Start(pool.key, self._generation, shape.slots)

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
                return [self._start(pool, pool.terms.shapes[-1], room, now)]
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
        for pool, instance in instances(self._pools):
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
            return [stop(candidate.pool, candidate.instance, StopReason.EVICTED)]
        candidate.instance.yields = True
        return []

    def _turn_ends_at(self, pool: Pool, instance: Instance) -> float:
        assert instance.ready_at is not None
        return instance.ready_at + max(self.quantum, _QUANTUM_LOADS * pool.load_seconds)

    def _holders(self, wanting: Pool, names: Iterable[str]) -> list[Instance]:
        """Return the runners that hold something of what is missing and could be without it."""
        return [
            instance
            for pool, instance in instances(self._pools)
            if pool is not wanting
            and not pool.terms.pinned
            and any(instance.claims.get(name, 0) for name in names)
        ]

    def forget_stale(self, now: float, patience: float) -> None:
        """Drop pools of which nothing is left to know, `patience` seconds after their last use."""
        stale = [
            pool.key
            for pool in self._pools.values()
            if not pool.instances
            and not pool.terms.min_instances
            and not self._queue.count(pool.key)
            and pool.backoff.stale(now)
            and (pool.idle_since is None or pool.idle_since + patience < now)
        ]
        for key in stale:
            del self._pools[key]

    def _note(self, when: float) -> None:
        """Remember to look again at a time."""
        if self.look_again_at is None or when < self.look_again_at:
            self.look_again_at = when
