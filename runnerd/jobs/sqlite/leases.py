"""Which claims count, and for how long.

In memory: the workers of this queue live and die with the daemon.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from runnerd.jobs.job import Job
from runnerd.jobs.queue import Claim, LossListener


@dataclass(slots=True)
class _Lease:
    claim: Claim
    until: float
    waits: bool = False


class Leases:
    """Knows the claims of this daemon's workers.  `passed` is a clock that nobody sets, in seconds;
    listeners are told of claims that were taken away.
    """

    def __init__(self, passed: Callable[[], float]) -> None:
        self._passed = passed
        self._leases: dict[str, _Lease] = {}
        self.listeners: list[LossListener] = []

    def take(self, claims: list[Claim], seconds: float) -> None:
        """Jobs were claimed."""
        until = self._passed() + seconds
        for claim in claims:
            self._leases[claim.job.id] = _Lease(claim, until)

    def extend(self, claim: Claim, seconds: float) -> bool:
        """Keep a claim for so many seconds from now; whether it still counts."""
        lease = self._leases.get(claim.job.id)
        if lease is None or lease.claim.token != claim.token:
            return False
        lease.until = self._passed() + seconds
        return True

    def wait(self, claim: Claim, *, waits: bool) -> None:
        """A job that was claimed waits for a place at its model, or does so no more."""
        lease = self._leases.get(claim.job.id)
        if lease is not None and lease.claim.token == claim.token:
            lease.waits = waits

    def waits(self, id: str) -> bool:
        """Whether a job was claimed and waits for a place."""
        lease = self._leases.get(id)
        return lease is not None and lease.waits

    def waiting(self) -> list[Job]:
        """The jobs that were claimed and wait for a place."""
        return [lease.claim.job for lease in self._leases.values() if lease.waits]

    def give_back(self, claim: Claim) -> None:
        """A worker has done with a job."""
        lease = self._leases.get(claim.job.id)
        if lease is not None and lease.claim.token == claim.token:
            del self._leases[claim.job.id]

    def revoke(self, id: str, token: int) -> None:
        """A claim counts no more; its worker is told."""
        lease = self._leases.get(id)
        if lease is not None and lease.claim.token == token:
            del self._leases[id]
        for listener in self.listeners:
            listener(id, token)

    def revoke_all(self) -> None:
        """The database has another content than when these were made."""
        for lease in list(self._leases.values()):
            self.revoke(lease.claim.job.id, lease.claim.token)

    def overdue(self) -> Iterator[Claim]:
        """The claims whose time is over."""
        now = self._passed()
        for lease in list(self._leases.values()):
            if lease.until <= now:
                yield lease.claim
