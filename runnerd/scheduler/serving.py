"""Who is granted a runner, who waits for one, and who is told that there will be none.

Those who wait are granted in the queue's order, as far as the instances of their pool have room.
"""

from __future__ import annotations

import sys

from runnerd.errors import BackendFailure
from runnerd.scheduler.budget import memory
from runnerd.scheduler.capacity_planner import CapacityPlanner
from runnerd.scheduler.decisions import (
    Decision,
    Fault,
    Grant,
    Refusal,
    Refuse,
    RunnerKey,
    RunnerState,
    StopReason,
)
from runnerd.scheduler.pool import Instance, Pool, instances, stop
from runnerd.scheduler.scheduler_state import SchedulerState


class Serving:
    """Owns the leases, by ticket."""

    def __init__(self, books: SchedulerState, capacity_planner: CapacityPlanner) -> None:
        self._books = books
        self._pools = books.pools
        self._queue = books.queue
        self._capacity_planner = capacity_planner
        self._granted: dict[int, tuple[Pool, Instance]] = {}

    # granting

    def available(
        self, key: RunnerKey, affinity: tuple[int, ...], *, background: bool
    ) -> Instance | None:
        """Return the instance that a new request can have at once, None if it has to wait."""
        pool = self._pools.get(key)
        if pool is None or self._books.draining or self._queue.before(key, background=background):
            return None
        return pool.choose(affinity, self._books.limits.overcommit, background=background)

    def grant(
        self,
        ticket: int,
        pool: Pool,
        instance: Instance,
        now: float,
        keep_alive: float | None,
        affinity: tuple[int, ...],
    ) -> Grant:
        """Let a ticket have an instance."""
        instance.leases.add(ticket)
        instance.used_at = now
        instance.fresh = False
        if affinity:
            instance.remember(affinity)
        if keep_alive is not None:
            pool.requested_keep_alive = keep_alive
        self._granted[ticket] = (pool, instance)
        return Grant(ticket, pool.key, instance.generation)

    def take_back(self, ticket: int) -> tuple[Pool, Instance] | None:
        """End a ticket's grant and return pool and instance that it had; None where it had none."""
        return self._granted.pop(ticket, None)

    def serve(self, pool: Pool, now: float, *, most: int = sys.maxsize) -> list[Decision]:
        """Grant those who wait for a pool, as far as its instances have room."""
        decisions: list[Decision] = []
        while (first := self._queue.first(pool.key)) is not None:
            instance = pool.choose(
                first.affinity, self._books.limits.overcommit, background=first.background
            )
            if instance is None:
                break
            self._queue.serve(first)
            decisions.append(
                self.grant(first.ticket, pool, instance, now, first.keep_alive, first.affinity)
            )
            if len(decisions) >= most:
                break
        return decisions

    def go_on(self, now: float) -> list[Decision]:
        """Arrange and serve, until neither changes anything."""
        if self._books.draining:
            return []
        decisions = self._refuse_over_share()
        decisions += self._capacity_planner.arrange(now)
        for key in self._queue.keys():
            decisions += self.serve(self._pools[key], now)
        return decisions

    # waiting

    def begins_to_wait(self, pool: Pool, now: float) -> None:
        """A request for a pool is about to wait."""
        shares = self._books.shares
        was_away = pool.came(now, shares.loaded_at)
        if self._queue.count(pool.key) or pool.alive():
            return
        shares.settle(now)
        if was_away:
            shares.place(pool.account)
        else:
            shares.keep_place(pool.account)

    def abandon(self, pool: Pool) -> list[Decision]:
        """Stop a load that nobody waits for and that is not to be resident anyway."""
        alive = pool.alive()
        if self._queue.count(pool.key) or len(alive) <= pool.terms.min_instances:
            return []
        if any(instance.state is RunnerState.READY for instance in alive):
            return []
        return [stop(pool, instance, StopReason.ABANDONED) for instance in alive]

    # refusing

    def failed(
        self,
        pool: Pool,
        instance: Instance,
        failure: BackendFailure,
        fault: Fault,
        now: float,
        jitter: float,
    ) -> list[Decision]:
        """An instance has failed and is gone: note that, and refuse whom it is no use to keep."""
        loading = instance.ready_at is None
        out_of_memory = loading and fault is Fault.OUT_OF_MEMORY
        others = [other for other, _ in instances(self._pools) if not other.terms.pinned]
        if out_of_memory and others and not pool.exclusive_host:
            pool.exclusive_host = True
            return []
        pool.exclusive_host = False
        served = None if instance.ready_at is None else now - instance.ready_at
        pool.failures.record(failure, fault, now, served=served, jitter=jitter)
        if pool.alive() or not pool.failures.tells:
            return []
        refusal = Refusal.LOAD_FAILED if loading else Refusal.FAILING
        return self.refuse_waiting(
            pool.key, Refusal.NO_MEMORY if out_of_memory else refusal, failure
        )

    def refuse_waiting(
        self, key: RunnerKey, refusal: Refusal, failure: BackendFailure | None
    ) -> list[Decision]:
        """Refuse everybody who waits for a key."""
        tickets = self._queue.tickets(key)
        for ticket in tickets:
            self._queue.remove(ticket)
        return [Refuse(ticket, refusal, failure) for ticket in tickets]

    def _refuse_over_share(self) -> list[Decision]:
        """Tell those who wait for what an owner does not let runners have, as is known by now."""
        budget = self._books.budget
        decisions: list[Decision] = []
        for key in self._queue.keys() if budget.has_shares else ():
            pool = self._pools[key]
            if not pool.alive() and budget.over_share(memory(pool.claims())):
                decisions += self.refuse_waiting(key, Refusal.OVER_SHARE, None)
        return decisions
