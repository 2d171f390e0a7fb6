"""A request asks for a runner: it is granted one, waits in the queue, or is refused.

There are three ways to ask.  `request_at_once` and `line_up` come first: a runner that is ready
and has room, or a place in the queue for runners that are in use.  `request` decides all the rest:
who is started, and whose place it takes.
"""

from __future__ import annotations

from runnerd.scheduler.budget import Budget, memory
from runnerd.scheduler.capacity_planner import CapacityPlanner
from runnerd.scheduler.decisions import Decision, Grant, Limits, Refusal, Refuse, RunnerKey
from runnerd.scheduler.needs import Needs
from runnerd.scheduler.queue import BACKGROUND
from runnerd.scheduler.scheduler_state import SchedulerState
from runnerd.scheduler.serving import Serving
from runnerd.scheduler.shares import Shares


class RequestAdmission(Needs):
    """The scheduler, for those who ask for a runner."""

    def __init__(self, limits: Limits) -> None:
        shares = Shares(limits.quantum, limits.queue_timeout)
        books = SchedulerState(limits, Budget(limits.capacity), shares)
        super().__init__(books, CapacityPlanner(books.pools, books.queue, books.budget, shares))
        self._pools = books.pools
        self._queue = books.queue
        self._budget = books.budget
        self._shares = books.shares
        self._serving = Serving(books, self._capacity_planner)

    def request(
        self,
        ticket: int,
        key: RunnerKey,
        now: float,
        *,
        keep_alive: float | None = None,
        client: str = "",
        affinity: tuple[int, ...] = (),
        priority: int = 0,
        long: bool = False,
    ) -> list[Decision]:
        """A request wants a runner for `key`, and perhaps that it stays `keep_alive` seconds.

        `long`: it may take long, by what it asks for.
        """
        background = priority <= BACKGROUND
        person = "" if background else client
        instance = self._serving.available(
            key, affinity, now, client=person, background=background, long=long
        )
        if instance is not None:
            pool = self._pools[key]
            pool.came(now, self._shares.loaded_at, person)
            pool.crowded = pool.crowds(instance, affinity)
            granted = self._serving.grant(
                ticket, pool, instance, now, keep_alive, affinity, person, background=background
            )
            if pool.pressed(0) or pool.crowded:
                return [granted, *self._serving.go_on(now)]
            return [granted]
        if self._books.draining:
            return [Refuse(ticket, Refusal.DRAINING)]
        pool = self._books.pool(key)
        if pool.failures.refuses and now < pool.failures.retry_at and not pool.alive():
            return [Refuse(ticket, Refusal.FAILING, pool.failures.failure)]
        if self._budget.over_share(memory(pool.claims())) and not pool.alive():
            return [Refuse(ticket, Refusal.OVER_SHARE)]
        if len(self._queue) >= self._books.limits.queue_length:
            return [Refuse(ticket, Refusal.QUEUE_FULL)]
        self._serving.begins_to_wait(pool, person, now)
        if background:
            self._books.pauses.wait(now)
        self._queue.add(
            ticket,
            key,
            now,
            keep_alive=keep_alive,
            client=client,
            affinity=affinity,
            priority=priority,
            long=long,
        )
        return self._serving.go_on(now)

    def request_at_once(
        self,
        ticket: int,
        key: RunnerKey,
        now: float,
        *,
        keep_alive: float | None = None,
        client: str = "",
        affinity: tuple[int, ...] = (),
        background: bool = False,
        long: bool = False,
    ) -> Grant | None:
        """Grant a runner that is ready and has room; None, and no trace, if that takes waiting, or
        deciding whether another instance is started.
        """
        if background:
            client = ""
        instance = self._serving.available(
            key, affinity, now, client=client, background=background, long=long
        )
        if instance is None:
            return None
        pool = self._pools[key]
        if affinity and pool.crowds(instance, affinity):
            return None
        pool.came(now, self._shares.loaded_at, client)
        return self._serving.grant(
            ticket, pool, instance, now, keep_alive, affinity, client, background=background
        )

    def line_up(
        self,
        ticket: int,
        key: RunnerKey,
        now: float,
        *,
        keep_alive: float | None = None,
        client: str = "",
        affinity: tuple[int, ...] = (),
        priority: int = 0,
        long: bool = False,
        full: bool = False,
    ) -> bool:
        """Let a request wait for runners that are in use; False, and no trace, if there is more to
        it than that: a runner to start, another one's place, or a refusal.

        `full`: in the same moment `request_at_once` has found no room, so nobody looks again.
        """
        pool, limits = self._pools.get(key), self._books.limits
        if pool is None or self._books.draining or len(self._queue) >= limits.queue_length:
            return False
        waiting = self._queue.count(key)
        if not pool.serving() or pool.pressed(waiting + 1):
            return False
        background = priority <= BACKGROUND
        person = "" if background else client
        looks = affinity or not full  # with an affinity it may have been more than room
        if looks and self._serving.available(
            key, affinity, now, client=person, background=background, long=long
        ):
            return False
        pool.came(now, self._shares.loaded_at, person)
        if background:
            self._books.pauses.wait(now)
        self._queue.add(
            ticket,
            key,
            now,
            keep_alive=keep_alive,
            client=client,
            affinity=affinity,
            priority=priority,
            long=long,
        )
        return True
