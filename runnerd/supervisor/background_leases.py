"""Leases that nobody waits for, and how they make room for those that somebody does.

A job has taken a slot that was free.  When somebody comes and gets a place at the same engine
beyond its slots, the job that came last gives its slot back; where jobs are for idle hosts only,
all jobs give theirs back as soon as anybody is served.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from runnerd.errors import Displaced
from runnerd.supervisor.lease import Lease


class BackgroundLeases:
    """Knows them by ticket.

    `slots_of` says how many slots an instance has, None where that is not known; `idle_only`
    whether jobs are for idle hosts only.
    """

    def __init__(
        self, slots_of: Callable[[Lease], int | None], idle_only: Callable[[], bool]
    ) -> None:
        self._slots_of = slots_of
        self._idle_only = idle_only
        self.leases: dict[int, Lease] = {}

    def settle(self, lease: Lease, leases: Mapping[int, Lease], *, waited_for: bool) -> None:
        """A lease was granted, one of `leases`; see who makes room for it.

        `waited_for`: somebody waits for one.
        """
        people = len(leases) - len(self.leases)
        if self._idle_only():
            if people or waited_for:
                for each in list(self.leases.values()):
                    _displace(each)
            return
        if lease.ticket in self.leases:
            return
        same = [each for each in leases.values() if each.generation == lease.generation]
        slots = self._slots_of(lease)
        if slots is not None and len(same) > slots:
            jobs = [each for each in same if each.ticket in self.leases]
            if jobs:
                _displace(jobs[-1])

    def displace(self, gives_way: Callable[[Lease], bool]) -> None:
        """Have those end whose runner is to make room for another model."""
        for lease in list(self.leases.values()):
            if gives_way(lease):
                _displace(lease)


def _displace(lease: Lease) -> None:
    """Let who has a lease give it back, once what goes on now is over."""
    if lease.holder is not None:
        asyncio.get_running_loop().call_soon(_tell, lease)


def _tell(lease: Lease) -> None:
    if lease.holder is not None:
        lease.holder.fail(Displaced("it made room for a request that somebody waits for"))
