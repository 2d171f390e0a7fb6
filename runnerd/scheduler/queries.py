"""What the scheduler can be asked.  Nothing in here changes anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from runnerd.scheduler.budget import memory
from runnerd.scheduler.capacity_planner import CapacityPlanner
from runnerd.scheduler.decisions import (
    DeviceMemory,
    FailureView,
    RunnerKey,
    RunnerState,
    RunnerView,
)
from runnerd.scheduler.eviction import Candidate, choose
from runnerd.scheduler.pool import instances
from runnerd.scheduler.scheduler_state import SchedulerState
from runnerd.scheduler.views import failure_views, runner_views, stranded


class Queries:
    """The scheduler, for those who only look."""

    def __init__(self, books: SchedulerState, capacity_planner: CapacityPlanner) -> None:
        self._books = books
        self._capacity_planner = capacity_planner

    # time

    def next_deadline(self) -> float | None:
        """Return when `tick` has something to do next, None while nothing is due."""
        books = self._books
        due = [
            expiry
            for pool, instance in instances(books.pools)
            if (expiry := pool.expires_at(instance, books.limits.keep_alive)) is not None
            and not books.queue.count(pool.key)
        ]
        if (oldest := books.queue.oldest()) is not None:
            due.append(oldest.since + books.limits.queue_timeout)
            held_back = (books.held_back_until(key) for key in books.queue.keys())
            due += (ends for ends in held_back if ends is not None)
        if self._capacity_planner.look_again_at is not None:
            due.append(self._capacity_planner.look_again_at)
        return min(due, default=None)

    def expires_at(self, key: RunnerKey, generation: int) -> float | None:
        """Return when `tick` has something to do because a request has ended: its runner expires if
        it stays unused, or has to make room; or a place that is kept for others is so no more.
        None for never.
        """
        books, expiry = self._books, None
        pool = books.pools.get(key)
        instance = None if pool is None else pool.instances.get(generation)
        if pool is not None and instance is not None and not instance.leases:
            expiry = pool.expires_at(instance, books.limits.keep_alive)
        if self._capacity_planner.look_again_at is None and key not in books.queue.lines:
            return expiry  # nothing else has a time
        times = (expiry, self._capacity_planner.look_again_at, self.held_back_until(key))
        return min((time for time in times if time is not None), default=None)

    def held_back_until(self, key: RunnerKey) -> float | None:
        """When a place that is kept for others is free for all; None where no time decides it."""
        return self._books.held_back_until(key)

    # on view

    def view(self) -> list[RunnerView]:
        """Return all runners as they stand, in the order of their starts."""
        books = self._books
        return runner_views(books.pools, books.queue, books.limits.keep_alive)

    def failures(self) -> list[FailureView]:
        """Return the pools that have failed and have no runner."""
        return failure_views(self._books.pools)

    def slots(self, key: RunnerKey, generation: int) -> int | None:
        """Return how many slots an instance has, None where that is not known."""
        found = self._books.find(key, generation)
        return None if found is None else found[1].slots

    @property
    def people_first(self) -> bool:
        """Whether somebody is served or waits for whom jobs pause."""
        pauses = self._books.pauses
        return pauses.patience > 0 and (pauses.people > 0 or self._books.people_wait)

    def jobs_begin_at(self) -> float:
        """Return from when on a job may begin, as things stand; infinite where that is no matter
        of time.
        """
        return self._books.jobs_begin_at()

    def jobs_that_stay(self, now: float) -> int | None:
        """Return how many jobs need not make room for who comes, None for all."""
        return self._books.pauses.stay(now)

    def gives_way(self, key: RunnerKey, generation: int) -> bool:
        """Return whether an instance is to make room for another model once it is idle."""
        found = self._books.find(key, generation)
        return found is not None and found[1].draining

    def need(self, key: RunnerKey) -> dict[str, int]:
        """Return the bytes per device that an instance of a pool takes at least, as is thought."""
        pool = self._books.pools.get(key)
        return {} if pool is None else memory(pool.claims())

    def devices(self) -> list[tuple[DeviceMemory, int]]:
        """Return the devices as they were last seen, each with what other programs use of it."""
        budget = self._books.budget
        return [(device, budget.others(device.id)) for device in budget.devices.values()]

    def would_evict(self, lack: Mapping[str, int], now: float) -> list[int] | None:
        """The generations of the runners that would have to go for somebody who lacks so much,
        those in use once they may; None where that is not enough.
        """
        candidates = [
            Candidate(pool, instance, now)
            for pool, instance in instances(self._books.pools)
            if not pool.terms.pinned and instance.state is RunnerState.READY
        ]
        chosen = choose(lack, candidates, now)
        return None if chosen is None else [each.instance.generation for each in chosen]

    def busy(self, matches: Callable[[RunnerKey], bool]) -> bool:
        """Return whether a matching runner has a lease or is being loaded for somebody."""
        return any(
            matches(pool.key) and (instance.leases or instance.state is RunnerState.STARTING)
            for pool, instance in instances(self._books.pools)
        )

    @property
    def queued(self) -> int:
        """How many tickets wait."""
        return len(self._books.queue)

    @property
    def people_queued(self) -> int:
        """How many tickets wait that somebody waits for."""
        return len(self._books.queue) - self._books.queue.in_background

    def wanted(self, key: RunnerKey) -> int:
        """Return how many tickets wait for what the instances of a key have: for them, or for room
        where a model has none.
        """
        queue, pools = self._books.queue, self._books.pools
        others = (other for other in queue.keys() if other != key and not pools[other].alive())
        return queue.count(key) + sum(queue.count(other) for other in others)

    def waiting(self) -> dict[RunnerKey, int]:
        """Return how many wait for each key that is waited for."""
        queue = self._books.queue
        return {key: queue.count(key) for key in queue.keys()}

    def stranded(self, now: float) -> list[int]:
        """Return the tickets that wait although nothing will answer them in time: always none.

        The watchdog's self-check.  A ticket may wait while a runner starts, stops or is in use, or
        until a time that is noted; but not beside a runner that could take it, and not for ever.
        """
        return stranded(
            self._books.pools,
            self._books.queue,
            limits=self._books.limits,
            noted=self._capacity_planner.look_again_at is not None
            or self._books.jobs_looked_at_at() is not None,
            jobs_begin=self._books.jobs_begin_at() <= now,
            now=now,
        )
