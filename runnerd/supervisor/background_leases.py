"""Leases that nobody waits for, and how they make room for those that somebody does.

A job has taken a slot in a pause between people (`scheduler/pauses`).  When somebody comes, jobs
give their slots back, but for the one that is let through; where an owner has jobs work beside
people, those do that would have somebody share a slot.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import islice

from runnerd.errors import Displaced
from runnerd.scheduler import Scheduler
from runnerd.supervisor.lease import Lease


class BackgroundLeases:
    """Knows them by ticket, in the order in which they were granted."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.leases: dict[int, Lease] = {}

    def settle(self, lease: Lease, leases: Mapping[int, Lease]) -> None:
        """Somebody was granted a lease, one of `leases`: see which jobs make room."""
        if lease.ticket in self.leases:
            return
        now = time.monotonic()
        for job in list(self._pushed_aside(now)):
            self._displace(job, now)
        same = [each for each in leases.values() if each.generation == lease.generation]
        slots = self._scheduler.slots(lease.key, lease.generation)
        if slots is not None and len(same) > slots:
            jobs = [each for each in same if each.ticket in self.leases]
            if jobs:
                self._displace(jobs[-1], now)

    def _pushed_aside(self, now: float) -> Iterator[Lease]:
        """The jobs that make room for whoever comes; the oldest ones stay."""
        stay = self._scheduler.jobs_that_stay(now)
        if stay is not None:
            yield from islice(self.leases.values(), stay, None)

    def displace(self, gives_way: Callable[[Lease], bool]) -> None:
        """Have those end whose runner is to make room for another model."""
        now = time.monotonic()
        for lease in list(self.leases.values()):
            if gives_way(lease):
                self._displace(lease, now)

    def _displace(self, lease: Lease, now: float) -> None:
        """Let who has a lease give it back, once what goes on now is over."""
        if lease.holder is not None:
            self._scheduler.displaced(lease.ticket, now)
            asyncio.get_running_loop().call_soon(_tell, lease)


def _tell(lease: Lease) -> None:
    if lease.holder is not None:
        lease.holder.fail(Displaced("it made room for a request that somebody waits for"))
