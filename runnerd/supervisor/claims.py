"""The claims on runners: of those who wait for a lease, and of those who have one."""

from __future__ import annotations

import time
from collections.abc import Callable

from runnerd.access import Principal
from runnerd.errors import BackendFailure
from runnerd.scheduler import Grant, Refuse, RunnerKey, Scheduler
from runnerd.supervisor.actions import Actions
from runnerd.supervisor.background_leases import BackgroundLeases
from runnerd.supervisor.batch_scheduling import BatchScheduling
from runnerd.supervisor.fleet import Fleet
from runnerd.supervisor.job_gate import JobGate
from runnerd.supervisor.lease import Lease, LeaseHolder, Waiter
from runnerd.supervisor.refusals import Refusals
from runnerd.supervisor.slot_persistence import MOST_CLIENTS, SlotPersistence


class Claims:
    """Knows who waits and who has what, by ticket.

    `lost` is told of each runner that is taken away, and why.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        actions: Actions,
        fleet: Fleet,
        *,
        slot_persistence: SlotPersistence,
        refusals: Refusals,
    ) -> None:
        self._scheduler = scheduler
        self._actions = actions
        self._runner = fleet.runner
        self._slot_persistence = slot_persistence
        self._refusals = refusals
        self.lost: Callable[[int, BackendFailure], None] = lambda generation, failure: None
        self._waiters: dict[int, Waiter] = {}
        self._leases: dict[int, Lease] = {}
        self._batch_scheduling = BatchScheduling(fleet, self._leases)
        self._background = BackgroundLeases(scheduler)
        self.job_gate = JobGate(scheduler)

    # those who wait

    @property
    def waited_for(self) -> bool:
        """Whether anybody waits."""
        return bool(self._waiters)

    def clients_waiting(self, key: RunnerKey) -> set[str]:
        """Return who waits for a runner of this key, as far as that is known."""
        return {waiter.principal.id for waiter in self._waiters.values() if waiter.key == key} - {
            ""
        }

    def wait(self, ticket: int, waiter: Waiter) -> None:
        """Somebody waits, until the ticket is granted or refused, or leaves."""
        self._waiters[ticket] = waiter

    def leave(self, ticket: int) -> bool:
        """Somebody waits no more; return whether they still did."""
        return self._waiters.pop(ticket, None) is not None

    def granted(self, granted: Grant) -> None:
        """A runner is there for a ticket."""
        waiter = self._waiters.pop(granted.ticket, None)
        if waiter is None:  # its owner has left meanwhile
            now = time.monotonic()
            self._actions.carry_out(self._scheduler.release(granted.ticket, now, computed=False))
            self.job_gate.left()
        else:
            waiter.claimant.granted(
                self.lease(granted, waiter.principal, waiter.holder, background=waiter.background)
            )

    def refused(self, refused: Refuse) -> None:
        """There will be no runner for a ticket."""
        waiter = self._waiters.pop(refused.ticket, None)
        self.job_gate.left()
        if waiter is not None:
            waiter.claimant.refused(self._refusals.error(refused, waiter.key, waiter.principal))

    # those who have a lease

    def lease(
        self,
        granted: Grant,
        principal: Principal,
        holder: LeaseHolder | None,
        *,
        background: bool = False,
    ) -> Lease:
        """The lease that somebody was granted."""
        ticket, key, generation = granted
        runner = self._runner(generation)
        recalls, client = False, principal.id
        if client not in runner.clients and len(runner.clients) <= MOST_CLIENTS:
            runner.clients.add(client)
            recalls = self._slot_persistence.awaits(runner, client)
        release = self._release
        lease = Lease(runner, ticket, key, generation, release, holder, principal, recalls)
        self._leases[ticket] = lease
        if background:
            self._background.leases[ticket] = lease
        if self._background.leases:
            self._background.settle(lease, self._leases)
        runner.used = True
        if self._batch_scheduling.timer is None:
            self._batch_scheduling.leased()
        return lease

    def _release(self, lease: Lease) -> None:
        if self._leases.pop(lease.ticket, None) is None:
            return
        if self._background.leases:
            self._background.leases.pop(lease.ticket, None)
        decisions = self._scheduler.release(lease.ticket, time.monotonic(), computed=lease.computed)
        if self.job_gate.news is not None:
            self.job_gate.left()
        if decisions:
            self._actions.act_on(decisions)
            if len(decisions) == 1 and isinstance(decisions[0], Grant):
                return  # to the next in line: no deadline has come nearer
            self._actions.wake()
        else:
            self._actions.wake_by(self._scheduler.expires_at(lease.key, lease.generation))

    def make_room(self) -> None:
        """Somebody waits: jobs whose runner has to make room end at once."""
        if self._background.leases:
            gives_way = self._scheduler.gives_way
            self._background.displace(lambda lease: gives_way(lease.key, lease.generation))

    def withdraw(self, ticket: int) -> None:
        """Nobody wants a ticket any more, be it waiting, granted or gone."""
        self._leases.pop(ticket, None)
        self._background.leases.pop(ticket, None)
        self._actions.carry_out(self._scheduler.withdraw(ticket, time.monotonic()))
        self.job_gate.left()

    # the runners that they have

    def heard_at(self, generation: int) -> float | None:
        """When a runner last sent something, as its leases' holders say it (`LeaseHolder`); None
        while it is not in use.
        """
        heard = [
            0.0 if lease.holder is None else lease.holder.heard_at()
            for lease in self._leases.values()
            if lease.generation == generation
        ]
        return max(heard, default=None)

    def revoke(self, generation: int, failure: BackendFailure) -> None:
        """Tell those who have a runner that it is taken away."""
        for lease in list(self._leases.values()):
            if lease.generation == generation and lease.holder is not None:
                lease.holder.revoked(failure)
        self.lost(generation, failure)

    def ended(self, generation: int) -> None:
        """A runner's last process is gone."""
        self._batch_scheduling.ended(generation)

    def close(self) -> None:
        """Look after batch_scheduling no more."""
        self._batch_scheduling.close()
