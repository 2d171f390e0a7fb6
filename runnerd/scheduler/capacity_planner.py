"""Who is started, who makes room, and who has to take no further request.

The pools that are waited for are gone through in the queue's order.  One that fits is started.  For
one that does not, runners have to go: idle ones at once, busy ones when their turn is over; and
what becomes free is kept for it, so that nobody who comes later can take it, however small.  A
model that is bigger than the host by its estimate is started when it has the host for itself: the
engine has the last word on what fits.
"""

from __future__ import annotations

from collections.abc import Mapping

from runnerd.scheduler.budget import Budget, Room
from runnerd.scheduler.candidates import Candidates
from runnerd.scheduler.decisions import Decision, RunnerKey, RunnerState, Shape, Start, StopReason
from runnerd.scheduler.eviction import Candidate, choose
from runnerd.scheduler.pool import Instance, Pool, instances, stop
from runnerd.scheduler.queue import Queue
from runnerd.scheduler.shaping import fitting_shape
from runnerd.scheduler.shares import Shares


class CapacityPlanner:
    """Decides about room.  It shares pools and queue with the scheduler, which owns them.

    `look_again_at` is when the next round can decide more than the last one could, None if no time
    alone changes anything; `residents_away` whether an owner wants to have loaded what is not;
    `shares` says how long each model's turn lasts.
    """

    def __init__(
        self, pools: dict[RunnerKey, Pool], queue: Queue, budget: Budget, shares: Shares
    ) -> None:
        self._pools = pools
        self._queue = queue
        self._budget = budget
        self._shares = shares
        self._candidates = Candidates(pools, queue, shares)
        self._holding: dict[RunnerKey, Pool] = {}  # room that others wait for
        self._contending: set[RunnerKey] = set()  # those, and the others, since the last round
        self._generation = 0
        self.look_again_at: float | None = None
        self.residents_away = False

    def arrange(self, now: float) -> list[Decision]:
        """Start what is waited for and fits, in the queue's order; see that the rest gets room."""
        self.look_again_at = None
        self._begin_round(now)
        decisions = self._decide(now)
        self._end_round()
        return decisions

    def _begin_round(self, now: float) -> None:
        self._shares.settle(now)
        contending = {pool.key: pool for pool in (*self._holding.values(), *self._unserved())}
        longest_load = max((pool.load_seconds for pool in contending.values()), default=0.0)
        self._shares.choose_quantum(len(contending), longest_load)
        self._holding = {}

    def _end_round(self) -> None:
        self._holding = {
            key: pool
            for key, pool in self._holding.items()
            if any(instance.state is RunnerState.READY for instance in pool.instances.values())
        }
        waiting = self._unserved()
        self._contending = {*self._holding, *(pool.key for pool in waiting)}
        self._shares.contend(
            [pool.account for pool in self._holding.values()],
            [pool.account for pool in waiting],
        )

    def _unserved(self) -> list[Pool]:
        """Return the pools that somebody waits for and that have no runner that is ready."""
        queue = self._queue
        waited_for = [self._pools[key] for key in queue.keys() if not queue.only_in_background(key)]
        return [
            pool
            for pool in waited_for
            if all(instance.state is not RunnerState.READY for instance in pool.instances.values())
        ]

    def _decide(self, now: float) -> list[Decision]:
        room = Room(
            self._budget,
            [instance.claims for _, instance in instances(self._pools)],
            [
                item.claims
                for _, item in instances(self._pools)
                if item.state is RunnerState.STOPPING
            ],
        )
        for _, instance in instances(self._pools):
            instance.draining = False
        decisions: list[Decision] = []
        claimed: set[int] = set()
        for pool in self._wanted():
            if now < pool.failures.retry_at:
                self._note(pool.failures.retry_at)
            elif (
                not pool.exclusive_host
                and (shape := fitting_shape(pool, self._pools.values(), room)) is not None
            ):
                decisions.append(self._start(pool, shape, room, now))
            else:
                decisions += self._make_room(pool, room, claimed, now)
                if pool.exclusive_host:  # whatever started now would be in its way again
                    return decisions
        return [*decisions, *self._grow(room, now), *self._bring_back(room, now)]

    def _wanted(self) -> list[Pool]:
        """Return the pools that are waited for and have no runner at all, in their order.

        That is the queue's, but who has had more of the time than others comes behind them, and
        what nobody waits for behind all.
        """
        wanted = [pool for key in self._queue.keys() if not (pool := self._pools[key]).instances]

        def place(pool: Pool) -> tuple[bool, int]:
            return self._queue.only_in_background(pool.key), self._shares.lead(pool.account)

        return sorted(wanted, key=place)

    def _grow(self, room: Room, now: float) -> list[Decision]:
        """Start further instances, of what is free and never at the expense of others."""
        decisions: list[Decision] = []
        for pool in self._pools.values():
            wanted = self._wants_more(pool) or pool.crowded
            pool.crowded = False  # whether there is room or not: one try for each such request
            if wanted and now < pool.failures.unasked_at:
                self._note(pool.failures.unasked_at)
                continue
            while wanted and (shape := fitting_shape(pool, self._pools.values(), room)) is not None:
                decisions.append(self._start(pool, shape, room, now))
                wanted = self._wants_more(pool)
        return decisions

    def _wants_more(self, pool: Pool) -> bool:
        return pool.lacks_residents or pool.pressed(self._queue.count(pool.key))

    def _bring_back(self, room: Room, now: float) -> list[Decision]:
        """Make room for residents that had to go, of what nobody has used for a quantum.

        Nobody's turn is cut short for them: not while another model is waited for.
        """
        self.residents_away = any(pool.lacks_residents for pool in self._pools.values())
        if not self.residents_away or self._unserved():
            return []
        decisions: list[Decision] = []
        for pool in [pool for pool in self._pools.values() if pool.lacks_residents]:
            claims = pool.claims()
            if now < pool.failures.unasked_at or self._budget.over_share(claims):
                continue
            chosen = choose(room.lack(claims), self._candidates.unused(pool, now), now)
            free_at = max((candidate.free_at for candidate in chosen or ()), default=now)
            if free_at > now:
                self._note(free_at)
                continue
            for candidate in chosen or ():
                room.expect(candidate.instance.claims)
                decisions += self._send_away(candidate, now)
            room.set_aside(claims)
        return decisions

    def _start(self, pool: Pool, shape: Shape, room: Room, now: float) -> Start:
        claims = pool.claims(shape)
        room.take(claims)
        self._generation += 1
        pool.instances[self._generation] = Instance(
            self._generation,
            RunnerState.STARTING,
            claims,
            started_at=now,
            used_at=now,
            slots=shape.slots,
        )
        return Start(pool.key, self._generation, shape.slots)

    def _make_room(self, pool: Pool, room: Room, claimed: set[int], now: float) -> list[Decision]:
        """Send away who has to go for `pool`, and keep what becomes free for it.

        Nobody who comes later can take that room, however small: or a stream of small models would
        starve a big one.
        """
        claims = pool.claims()
        lack = claims if pool.exclusive_host else room.lack(claims)
        if not self._queue.only_in_background(pool.key):
            self._note_holders(pool, lack)
        candidates = [
            candidate
            for candidate in self._candidates.for_room(pool, now)
            if candidate.instance.generation not in claimed
        ]
        chosen = None if pool.exclusive_host else choose(lack, candidates, now)
        if chosen is None:
            short = room.short(claims)
            holders = self._candidates.holders(pool, [*short, *lack])
            if not holders and not any(name.startswith("#") for name in short):
                # It does not fit by its estimate.  The engine has the last word on that.
                return [self._start(pool, pool.terms.shapes[-1], room, now)]
            moving = any(instance.state is not RunnerState.READY for instance in holders)
            chosen = [] if moving else [item for item in candidates if item.instance in holders]
        decisions: list[Decision] = []
        for candidate in chosen:
            claimed.add(candidate.instance.generation)
            room.expect(candidate.instance.claims)
            decisions += self._send_away(candidate, now)
        room.set_aside(claims)
        return decisions

    def _note_holders(self, wanting: Pool, lack: Mapping[str, int]) -> None:
        """Note who holds something that another model waits for."""
        for pool, instance in instances(self._pools):
            if pool is wanting or pool.terms.pinned or instance.state is not RunnerState.READY:
                continue
            if pool.key not in self._holding and any(map(instance.claims.get, lack)):
                self._holding[pool.key] = pool
                if pool.key not in self._contending:
                    self._shares.place(pool.account)

    def _send_away(self, candidate: Candidate, now: float) -> list[Decision]:
        """Stop a runner whose turn is over, or let it finish what it does and take nothing more."""
        if candidate.free_at > now:
            self._note(candidate.free_at)
            return []
        if candidate.instance.idle:
            candidate.pool.account.evicted_at = now
            return [stop(candidate.pool, candidate.instance, StopReason.EVICTED)]
        candidate.instance.draining = True
        return []

    def _note(self, when: float) -> None:
        """Remember to look again at a time."""
        if self.look_again_at is None or when < self.look_again_at:
            self.look_again_at = when
