"""How one exchange waits for a runner.

In line where a runner is in use: without a task, a future or a timer of its own.  A task waits
where that takes more: a load, a client that wants signs of life, or state that is given back to a
runner (`Supervisor.recalled`).
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Protocol

import msgspec

from runnerd import threads
from runnerd.access import Principal
from runnerd.errors import RunnerdError
from runnerd.relay.background import Steps, take_steps
from runnerd.relay.exchange_context import ExchangeContext
from runnerd.relay.plan import Plan
from runnerd.relay.response_sink import ResponseSink
from runnerd.supervisor import Lease, LeaseHolder


class WaitingExchange(LeaseHolder, Protocol):
    """Who waits.  It is told one of the two, once."""

    def leased(self, lease: Lease) -> None:
        """A runner is there; the lease has to be released."""
        ...

    def fail(self, error: RunnerdError) -> None:
        """There will be none."""
        ...


class RunnerWait(msgspec.Struct, eq=False):
    """Waits from `stand_in_line`, `wait` or `recall` until the exchange is told, or leaves.

    `principal` is who asks, `id` the request's.  A struct: one is made per request that waits.
    """

    _exchange: WaitingExchange | None
    _plan: Plan
    _sink: ResponseSink
    _context: ExchangeContext
    principal: Principal
    id: str
    _ticket: int | None = None  # to leave the queue with
    _lease: Lease | None = None  # of a runner that is given something back
    _task: asyncio.Task[None] | None = None

    def stand_in_line(self) -> None:
        """Wait for a runner that is in use, as a look in the same moment has found; in a task where
        that takes more than waiting.
        """
        plan, exchange = self._plan, self._exchange
        if not self._sink.wants_signs_of_life:
            self._ticket = self._context.supervisor.line_up(
                plan.key,
                self,
                holder=exchange,
                principal=self.principal,
                keep_alive=plan.keep_alive,
                affinity=plan.affinity,
                priority=plan.priority,
                long=plan.long,
                full=True,
            )
        if self._ticket is None:
            self.wait()

    def wait(self) -> None:
        """Wait for a runner that may have to be started."""
        self._take(self._get_lease)

    def recall(self, lease: Lease) -> None:
        """Wait until a runner has what was kept for the client."""
        self._lease = lease
        self._take(partial(self._recall, lease))

    def leave(self) -> None:
        """Wait no more.  Idempotent, and harmless once the exchange was told."""
        self._exchange = None
        if self._ticket is not None:
            self._context.supervisor.leave(self._ticket)
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.release()
        task, self._task = self._task, None  # whose end holds on to its frames, and so to this
        if task is not None:
            task.cancel()

    # told by the supervisor (Claimant)

    def granted(self, lease: Lease) -> None:
        if self._ticket is None:
            self._begin_with(lease)
        else:
            self._context.pools.poller.afterwards(partial(self._begin_with, lease))

    def refused(self, error: RunnerdError) -> None:
        self._failed(error)

    def _begin_with(self, lease: Lease) -> None:
        if self._exchange is None:
            lease.release()
        elif lease.recalls:
            self.recall(lease)
        else:
            self._tell(lease)

    # in a task

    def _take(self, steps: Steps) -> None:
        self._task = take_steps(steps, self._failed, self.id)

    async def _get_lease(self) -> None:
        plan = self._plan
        if plan.is_large:
            await threads.run(plan.validate_request)
        else:
            plan.validate_request()
        self._sink.waiting(streams=plan.sends_events)
        lease = await self._context.supervisor.lease(
            plan.key,
            plan.model_ref,
            holder=self._exchange,
            principal=self.principal,
            keep_alive=plan.keep_alive,
            affinity=plan.affinity,
            priority=plan.priority,
            afresh=plan.preload_only or plan.immediate is not None,
            long=plan.long,
        )
        self._tell(lease)

    async def _recall(self, lease: Lease) -> None:
        self._sink.waiting(streams=self._plan.sends_events)
        self._tell(await self._context.supervisor.recalled(lease))

    # the end

    def _tell(self, lease: Lease) -> None:
        exchange, self._exchange = self._exchange, None
        self._lease = self._task = None
        if exchange is None:
            lease.release()
        else:
            exchange.leased(lease)

    def _failed(self, error: RunnerdError) -> None:
        exchange, self._exchange = self._exchange, None
        self._task = None
        if exchange is not None:
            exchange.fail(error)
