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
from runnerd.scheduler.line import Waiting
from runnerd.scheduler.pool import Instance, Pool, instances, stop
from runnerd.scheduler.scheduler_state import SchedulerState


class Serving:
    """Owns the leases, by ticket."""

    def __init__(self, books: SchedulerState, capacity_planner: CapacityPlanner) -> None:
        self._books = books
        self._pools = books.pools
        self._queue = books.queue
        self._capacity_planner = capacity_planner
        self._granted: dict[int, tuple[Pool, Instance, str]] = {}

    # granting

    def available(
        self,
        key: RunnerKey,
        affinity: tuple[int, ...],
        now: float,
        *,
        client: str,
        background: bool,
        long: bool = False,
    ) -> Instance | None:
        """Return the instance that a new request can have at once, None if it has to wait."""
        pool = self._pools.get(key)
        if pool is None or self._books.draining:
            return None
        if background and self._books.jobs_begin_at() > now:
            return None
        overcommit = self._books.limits.overcommit
        instance = pool.choose(
            affinity, overcommit, client=client, now=now, background=background, long=long
        )
        if (
            self._queue.lines
            and instance is not None
            and self._queue.before(key, background=background)
        ):
            first = self._next(pool, now)[0]
            if first is not None and (background or not first.background):
                held = pool.sharers.held
                if background or client in held or first.client not in held:
                    return None  # else it comes before whoever waits: these hold places
        return instance

    def _next(self, pool: Pool, now: float) -> tuple[Waiting | None, Instance | None]:
        """Return whose turn is next, and on which instance if there is room.

        Clients that have as much as they may have beside others are passed over, as long as nobody
        else is there to take what they leave.
        """
        passed_over: list[str] = []
        while (first := self._queue.first(pool.key, passed_over)) is not None:
            if first.background and self._books.jobs_begin_at() > now:
                return first, None
            instance = pool.choose(
                first.affinity,
                self._books.limits.overcommit,
                client=first.client,
                now=now,
                background=first.background,
                long=first.long,
            )
            if instance is not None or first.background:
                return first, instance
            if not pool.holds_back(first.client, now, long=first.long):
                return first, None
            passed_over.append(first.client)
        return None, None

    def grant(
        self,
        ticket: int,
        pool: Pool,
        instance: Instance,
        now: float,
        keep_alive: float | None,
        affinity: tuple[int, ...],
        client: str = "",
        *,
        background: bool = False,
    ) -> Grant:
        """Let a ticket of a client, which is empty in the background, have an instance."""
        instance.leases[ticket] = now
        if background:
            instance.in_background.add(ticket)
        instance.used_at = now
        instance.fresh = False
        if affinity:
            instance.remember(affinity)
        if keep_alive is not None:
            pool.requested_keep_alive = keep_alive
        if client:
            held = pool.sharers.held
            count = held[client] = held.get(client, 0) + 1
            if count == 1 and self._queue.lines:
                self._queue.moved(pool.key, client)
        self._granted[ticket] = (pool, instance, client)
        self._books.pauses.granted(background=background)
        # Without the function that a named tuple is made by: each request gets one.
        return tuple.__new__(Grant, (ticket, pool.key, instance.generation))

    def take_back(self, ticket: int, now: float) -> tuple[Pool, Instance, bool] | None:
        """End a ticket's grant; None where it had none.

        Returns pool and instance that it had, and whether its client holds nothing there any more,
        which can let others have more than this one place.
        """
        taken = self._granted.pop(ticket, None)
        if taken is None:
            return None
        pool, instance, client = taken
        self._books.pauses.ended(ticket, now, background=ticket in instance.in_background)
        left = False
        if client:
            held = pool.sharers.held
            count = held[client] - 1
            left = not count
            if count:
                held[client] = count
            else:
                del held[client]
                if self._queue.lines:
                    self._queue.moved(pool.key, client)
        return pool, instance, left

    def serve(self, pool: Pool, now: float, *, most: int = sys.maxsize) -> list[Decision]:
        """Grant those who wait for a pool, as far as its instances have room."""
        decisions: list[Decision] = []
        while len(decisions) < most:
            first, instance = self._next(pool, now)
            if first is None or instance is None:
                break
            self._queue.serve(first)
            client = "" if first.background else first.client
            decisions.append(
                self.grant(
                    first.ticket,
                    pool,
                    instance,
                    now,
                    first.keep_alive,
                    first.affinity,
                    client,
                    background=first.background,
                )
            )
        return decisions

    def serve_held_back(self, now: float) -> list[Decision]:
        """Grant what was kept for others who have not come."""
        decisions: list[Decision] = []
        for key in self._queue.keys():
            ends = self._books.held_back_until(key)
            if ends is not None and ends <= now:
                decisions += self.serve(self._pools[key], now)
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

    def begins_to_wait(self, pool: Pool, client: str, now: float) -> None:
        """A request for a pool is about to wait, of a client or (empty) in the background."""
        shares = self._books.shares
        was_away = pool.came(now, shares.loaded_at, client)
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
