"""Which engines have a crowd to serve: their backends are told, for the way they are scheduled.

A look twice a second while anybody has a lease, and nothing per request: what comes and goes in
less time is not worth a change.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

from runnerd.backends.cpu_policy import CpuPolicy
from runnerd.supervisor.fleet import Fleet
from runnerd.supervisor.lease import Lease

A_CROWD = 16
"""Requests at one engine from which on they are a crowd; it is none any more below half of it."""

_LOOK_INTERVAL = 0.5  # seconds


class BatchScheduling:
    """Looks at the leases, which the supervisor owns.  There is a `timer` while it does."""

    def __init__(self, fleet: Fleet, leases: Mapping[int, Lease]) -> None:
        self._fleet = fleet
        self._leases = leases
        self._crowded: set[int] = set()  # generations
        self.timer: asyncio.TimerHandle | None = None

    def leased(self) -> None:
        """There is a lease; looks go on until there is none."""
        if self.timer is None:
            self.timer = asyncio.get_running_loop().call_later(_LOOK_INTERVAL, self._look)

    def ended(self, generation: int) -> None:
        """A runner's last process is gone."""
        self._crowded.discard(generation)

    def close(self) -> None:
        """Look no more."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def _look(self) -> None:
        self.timer = None
        requests = Counter(lease.generation for lease in self._leases.values())
        for generation in self._crowded | requests.keys():
            if generation not in self._fleet:
                continue  # it has ended, and its requests are about to hear of it
            was = generation in self._crowded
            is_crowded = requests[generation] >= (A_CROWD / 2 if was else A_CROWD)
            if is_crowded != was:
                self._tell(generation, is_crowded)
        if self._leases:
            self.leased()

    def _tell(self, generation: int, is_crowded: bool) -> None:
        runner = self._fleet[generation]
        if isinstance(runner.backend, CpuPolicy):
            runner.backend.crowded(runner.socket, is_crowded)
        if is_crowded:
            self._crowded.add(generation)
        else:
            self._crowded.discard(generation)
