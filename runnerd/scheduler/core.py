"""The scheduler: events in, decisions out.

    instance state   request        release          ready    ended               unload / expiry
    (none)           Start, wait    -                -        -                   -
    STARTING         wait           -                grant    see FailureHistory  Stop, refuse waits
    READY            Grant or wait  idle clock runs  -        retried if wanted   Stop when no lease
    STOPPING         wait           -                -        Start if wanted     -

After every event that may have changed something, two steps: *arrange* (who is started, who makes
room, who has to take no further request because another model's turn has come) and *serve* (grant
whoever can be granted, in the queue's order).
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from runnerd.errors import BackendFailure
from runnerd.scheduler.decisions import (
    Decision,
    Fault,
    Limits,
    Refusal,
    Refuse,
    RunnerKey,
    RunnerState,
    StopReason,
)
from runnerd.scheduler.overcommit_relief import relieve
from runnerd.scheduler.pool import instances, stop
from runnerd.scheduler.request_admission import RequestAdmission


class Scheduler(RequestAdmission):
    """What the scheduler is told, each with the present time, and decides upon it."""

    def set_limits(self, limits: Limits, now: float) -> list[Decision]:
        """Go on with other limits.  Nobody in the queue is refused because of them."""
        self._books.limits = limits
        self._books.pauses.patience = limits.patience
        self._budget.places = limits.capacity
        self._shares.turn, self._shares.queue_timeout = limits.quantum, limits.queue_timeout
        return [*self.tick(now), *self._serving.go_on(now)]

    def relieve(self, now: float) -> list[Decision]:
        """Stop idle runners where all together hold more than they may (`learned`, `observe`)."""
        return [] if self._books.draining else relieve(self._pools, self._queue, self._budget, now)

    def ensure(self, now: float) -> list[Decision]:
        """Start what is to be resident (`min_instances`) and fits into what is free."""
        return self._serving.go_on(now)

    # requests

    def withdraw(self, ticket: int, now: float) -> list[Decision]:
        """The owner of a ticket has left.  A load that nobody waits for any more is stopped."""
        waiting = self._queue.remove(ticket)
        if waiting is None:
            return self.release(ticket, now)
        return [*self._serving.abandon(self._pools[waiting.key]), *self._serving.go_on(now)]

    def release(self, ticket: int, now: float, *, computed: bool = True) -> list[Decision]:
        """A lease has ended; unknown tickets are ignored, so that releasing twice is harmless.

        `computed`: with a response that its engine has computed, which shows how quick that is.
        """
        taken = self._serving.take_back(ticket, now)
        if taken is None:
            return []
        pool, instance, left = taken
        leases = instance.leases
        granted_at = leases.pop(ticket)
        lines, in_background = self._queue.lines, instance.in_background
        jobs_go_on = bool(lines) and self._jobs_go_on(now, background=ticket in in_background)
        in_background.discard(ticket)
        instance.used_at = now
        places_changed = False
        if computed:
            places_changed = instance.pace.responded(granted_at, now, leases.values())
        else:
            instance.pace.left(granted_at)
        if instance.state is not RunnerState.READY:
            return self._serving.go_on(now) if jobs_go_on else []
        if pool.failures.failure is not None:
            pool.failures.answered()
        if instance.leases and not jobs_go_on:  # a place is free: nobody else has anything of it
            most = sys.maxsize if places_changed or left else 1
            return self._serving.serve(pool, now, most=most) if pool.key in lines else []
        if instance.leases:
            return self._serving.go_on(now)
        if self._books.draining:
            return [stop(pool, instance, StopReason.DRAINED)]
        pool.idle_since = now
        due = (
            self._capacity_planner.residents_away
            or pool.keep_alive(self._books.limits.keep_alive) == 0
        )
        if not lines and not due:
            return []
        return [*self._serving.go_on(now), *self.tick(now)]

    def _jobs_go_on(self, now: float, *, background: bool) -> bool:
        """Whether jobs of any pool may have waited for the end of this ticket: for that of the last
        for whose response somebody waited, or beside people for that of the one job that ran.
        """
        if background:
            return self._books.pauses.people > 0 and self._books.jobs_begin_at() <= now
        return not self._books.pauses.people

    def jobs_wait(self, now: float) -> None:
        """There are jobs that cannot begin now."""
        self._books.pauses.wait(now)

    def displaced(self, ticket: int, now: float) -> None:
        """A job that has a lease was told to give it back: somebody came."""
        self._books.pauses.displaced(ticket, now)

    # runners

    def ready(self, key: RunnerKey, generation: int, now: float) -> list[Decision]:
        """A runner answers; those who wait for it are granted before anything else is decided."""
        found = self._books.find(key, generation)
        if found is None or found[1].state is not RunnerState.STARTING:
            return []
        pool, instance = found
        instance.state = RunnerState.READY
        instance.ready_at = instance.used_at = now
        pool.loaded_in(now - instance.started_at)
        pool.failures.loaded()
        self._shares.loaded_at = now
        pool.exclusive_host = False
        pool.idle_since = None if self._queue.count(key) else now
        return [*self._serving.serve(pool, now), *self._serving.go_on(now)]

    def failing(self, key: RunnerKey, generation: int) -> None:
        """A runner is being ended although nobody decided so: it is granted to nobody any more.

        Its leases go on until they are released, or until it has ended.
        """
        found = self._books.find(key, generation)
        if found is not None and found[1].state is not RunnerState.STOPPING:
            _, instance = found
            instance.state = RunnerState.STOPPING
            instance.failing = True

    def ended(
        self,
        key: RunnerKey,
        generation: int,
        failure: BackendFailure | None,
        now: float,
        *,
        fault: Fault = Fault.CRASH,
        jitter: float = 1.0,
    ) -> list[Decision]:
        """A runner's processes are gone.  `failure` is why, None when it was stopped as decided.

        Whoever waited for a load that failed is refused with the failure, since the load is not
        repeated once per waiting request; but a crash is made good once first, and where memory ran
        out while others held some of it, the load is tried once more with the host for itself.
        """
        pool = self._pools.get(key)
        instance = None if pool is None else pool.instances.pop(generation, None)
        if pool is None or instance is None:
            return []
        for ticket in instance.leases:
            self._serving.take_back(ticket, now)
        if not pool.instances:
            pool.requested_keep_alive = None
        decisions: list[Decision] = []
        if failure is not None and (instance.failing or instance.state is not RunnerState.STOPPING):
            decisions += self._serving.failed(pool, instance, failure, fault, now, jitter)
        return [*decisions, *self._serving.go_on(now)]

    def unload(
        self, matches: Callable[[RunnerKey], bool], *, force: bool = False
    ) -> list[Decision]:
        """Stop every matching runner that nobody uses or waits for; by `force` all of them, and
        those who wait are refused.

        It stays unloaded until somebody asks for it, and its failures are forgotten.
        """
        decisions: list[Decision] = []
        for pool in self._pools.values():
            if not matches(pool.key):
                continue
            pool.failures.clear()
            if self._queue.count(pool.key) and not force:
                continue
            pool.unloaded_by_owner = True
            decisions += self._serving.refuse_waiting(pool.key, Refusal.UNLOADED, None)
            decisions += [
                stop(pool, instance, StopReason.UNLOADED)
                for instance in pool.alive()
                if force or not instance.leases
            ]
        return decisions

    @property
    def draining(self) -> bool:
        """Whether nothing more is admitted."""
        return self._books.draining

    def drain(self) -> list[Decision]:
        """Admit nothing more: refuse who waits, stop what has no lease, the rest when it is
        released.
        """
        self._books.draining = True
        decisions: list[Decision] = []
        for waiting in self._queue.all():
            self._queue.remove(waiting.ticket)
            decisions.append(Refuse(waiting.ticket, Refusal.DRAINING))
        for pool, instance in instances(self._pools):
            if not instance.leases and instance.state is not RunnerState.STOPPING:
                decisions.append(stop(pool, instance, StopReason.DRAINED))
        return decisions

    # time

    def tick(self, now: float) -> list[Decision]:
        """Carry out what was due by `now`: expiries, waits that have been too long, turns."""
        decisions: list[Decision] = []
        decisions += self._serving.serve_held_back(now)
        self._books.pauses.looked(now)
        for waiting in self._queue.all():
            if waiting.since + self._books.limits.queue_timeout > now:
                break
            self._queue.remove(waiting.ticket)
            decisions.append(Refuse(waiting.ticket, Refusal.QUEUE_TIMEOUT))
            decisions += self._serving.abandon(self._pools[waiting.key])
        for pool, instance in instances(self._pools):
            expiry = pool.expires_at(instance, self._books.limits.keep_alive)
            if expiry is not None and expiry <= now and not self._queue.count(pool.key):
                decisions.append(stop(pool, instance, StopReason.EXPIRED))
        if (
            self._capacity_planner.look_again_at is not None
            and self._capacity_planner.look_again_at <= now
        ):
            decisions += self._serving.go_on(now)
        self._books.forget_stale(now)
        return decisions
