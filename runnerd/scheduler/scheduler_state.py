"""What the scheduler knows, shared by those who decide and those who are asked."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from runnerd.scheduler.budget import Budget
from runnerd.scheduler.decisions import Limits, RunnerKey
from runnerd.scheduler.pauses import Pauses
from runnerd.scheduler.pool import Instance, Pool
from runnerd.scheduler.queue import Queue
from runnerd.scheduler.shares import Shares


@dataclass(slots=True)
class SchedulerState:
    """The pools, the queue of those who wait, the budget and the accounts of time."""

    limits: Limits
    budget: Budget
    shares: Shares
    pools: dict[RunnerKey, Pool] = field(default_factory=dict)
    queue: Queue = field(init=False)
    pauses: Pauses = field(init=False)
    draining: bool = False

    def __post_init__(self) -> None:
        self.queue = Queue(self._held)
        self.pauses = Pauses(self.limits.patience)

    def _held(self, key: RunnerKey, client: str) -> int:
        """How many places of a pool a client holds."""
        return self.pools[key].sharers.held.get(client, 0)

    def pool(self, key: RunnerKey) -> Pool:
        """Return the pool of a key, a new one where there is none."""
        pool = self.pools.get(key)
        if pool is None:
            pool = self.pools[key] = Pool(key)
        return pool

    def find(self, key: RunnerKey, generation: int) -> tuple[Pool, Instance] | None:
        """Return an instance with its pool, None where it is no more."""
        pool = self.pools.get(key)
        instance = None if pool is None else pool.instances.get(generation)
        return None if pool is None or instance is None else (pool, instance)

    def held_back_until(self, key: RunnerKey) -> float | None:
        """Return when somebody who waits gets a place that is kept for others; None where no time
        decides that.
        """
        line, pool = self.queue.lines.get(key), self.pools.get(key)
        if line is None or pool is None:
            return None
        if not line.background and pool.sharers.alone:
            return None  # the common case: nothing is kept for others
        if (first := line.first()) is None:
            return None
        if first.background:
            return self.jobs_looked_at_at()
        ends = pool.sharers.shared_until(first.client)
        if not math.isfinite(ends):
            return None
        overcommit = self.limits.overcommit
        place = pool.choose(
            first.affinity, overcommit, client=first.client, now=ends, long=first.long
        )
        return None if place is None else ends

    @property
    def people_wait(self) -> bool:
        """Whether anybody is in the queue for whom somebody waits."""
        return len(self.queue) > self.queue.in_background

    def jobs_begin_at(self) -> float:
        """Return from when on a job may begin, as things stand."""
        return self.pauses.begins_at(people_wait=self.people_wait)

    def jobs_looked_at_at(self) -> float | None:
        """Return when jobs that wait are to be looked at, None where no time decides that."""
        return self.pauses.look_at(people_wait=self.people_wait)

    def forget_stale(self, now: float) -> None:
        """Drop pools of which nothing is left to know, `queue_timeout` after their last use."""
        kept_for = self.limits.queue_timeout
        stale = [
            pool.key
            for pool in self.pools.values()
            if not pool.instances
            and not pool.terms.min_instances
            and not self.queue.count(pool.key)
            and pool.failures.stale(now)
            and (pool.idle_since is None or pool.idle_since + kept_for < now)
        ]
        for key in stale:
            del self.pools[key]
