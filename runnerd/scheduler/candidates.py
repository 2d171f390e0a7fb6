"""Who can be asked to make room, and when.

A runner in use may be asked when its time quantum is over, an idle one at once, and none that an
owner has pinned.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from runnerd.scheduler.decisions import RunnerKey, RunnerState
from runnerd.scheduler.eviction import Candidate
from runnerd.scheduler.pool import Instance, Pool, instances
from runnerd.scheduler.queue import Queue
from runnerd.scheduler.shares import Shares


class Candidates:
    """Finds them.  It shares pools, queue and accounts of time with the scheduler."""

    def __init__(self, pools: dict[RunnerKey, Pool], queue: Queue, shares: Shares) -> None:
        self._pools = pools
        self._queue = queue
        self._shares = shares

    def for_room(self, wanting: Pool, now: float) -> list[Candidate]:
        """The runners that can make room for a pool that is waited for."""
        if self._queue.only_in_background(wanting.key):
            return list(self._left_alone(wanting))
        found = []
        for pool, instance in instances(self._pools):
            if pool is wanting or pool.terms.pinned or instance.state is not RunnerState.READY:
                continue
            free_at = self._turn_ends_at(pool, instance, wanting, now)
            if instance.idle and not self._queue.count(pool.key):
                free_at = min(pool.hopeful_until(instance), free_at)
            elif instance.works_for_nobody and self._queue.only_in_background(pool.key):
                free_at = now
            found.append(Candidate(pool, instance, free_at))
        return found

    def _left_alone(self, wanting: Pool) -> Iterator[Candidate]:
        """The runners that can make room for what nobody waits for: none that is in use, waited
        for, or has been used a moment ago.
        """
        for pool, instance in instances(self._pools):
            if pool is wanting or pool.terms.pinned or not instance.idle:
                continue
            if not self._queue.count(pool.key):
                unused_at = instance.used_at + self._quantum_of(pool)
                yield Candidate(pool, instance, max(pool.hopeful_until(instance), unused_at))

    def unused(self, wanting: Pool, now: float) -> list[Candidate]:
        """The runners that need not stay for a resident that wants to come back."""
        return [
            Candidate(pool, instance, instance.used_at + self._quantum_of(pool))
            for pool, instance in instances(self._pools)
            if pool is not wanting
            and instance.idle
            and pool.may_shrink
            and not pool.terms.pinned
            and not self._queue.count(pool.key)
        ]

    def _turn_ends_at(self, pool: Pool, instance: Instance, wanting: Pool, now: float) -> float:
        """When a runner has to make room for another model, in use or not."""
        assert instance.ready_at is not None
        even_at = self._shares.catches_up_at(pool.account, wanting.account, now)
        return max(instance.ready_at + self._quantum_of(pool), even_at)

    def _quantum_of(self, pool: Pool) -> float:
        return max(self._shares.quantum, self._shares.worth_loading(pool.load_seconds))

    def holders(self, wanting: Pool, names: Iterable[str]) -> list[Instance]:
        """The runners that hold something of what is missing and could be without it."""
        return [
            instance
            for pool, instance in instances(self._pools)
            if pool is not wanting
            and not pool.terms.pinned
            and any(instance.claims.get(name, 0) for name in names)
        ]
