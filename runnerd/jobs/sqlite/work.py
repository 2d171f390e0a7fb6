"""The queue as workers see it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, TypeVar

from runnerd.database import Connection
from runnerd.jobs.job import Attempt, AttemptEnd, Job, Response
from runnerd.jobs.queue import Claim, LossListener
from runnerd.jobs.sqlite import rows, transitions
from runnerd.jobs.sqlite.state import QueueState
from runnerd.jobs.sqlite.transitions import Claimant, Ended

T = TypeVar("T")

_LONGEST = 1000  # letters of a reason


class _Claimed(NamedTuple):
    claims: list[Claim]
    ended: list[Ended]
    due: float | None


class SqliteWork:
    """`queue.Work` over the database."""

    def __init__(self, state: QueueState) -> None:
        self._state = state

    async def wait_for_work(self, worker: str) -> None:
        """As in the contract."""
        await self._state.work.wait(worker)

    async def claim(
        self,
        worker: str,
        *,
        limit: int = 1,
        lease: float = 60.0,
        models: Collection[str] | None = None,
    ) -> list[Claim]:
        """As in the contract."""
        state = self._state
        now = state.clock()
        state.work.looking(worker)

        def work(connection: Connection) -> _Claimed:
            transitions.recover(connection, state.epoch, state.rules.policy(), now)
            expired = transitions.expire(connection, now)
            claimant = Claimant(worker, state.epoch)
            claims, failed = transitions.claim(
                connection, claimant, limit, models, now, state.rules.most_results()
            )
            return _Claimed(claims, [*expired, *failed], transitions.next_due(connection))

        def then(claimed: _Claimed) -> None:
            state.leases.take(claimed.claims, lease)
            state.ended(claimed.ended)
            state.changes.tell(claim.job.id for claim in claimed.claims)
            self._wake_at(claimed.due)
            if len(claimed.claims) < limit and claimed.ended:
                state.work.wake()  # others may be behind those

        return (await state.database.write(work, then=then)).claims

    def _wake_at(self, due: float | None) -> None:
        state = self._state
        state.work.wake_in(None if due is None else due - state.clock())

    async def extend(self, claim: Claim, lease: float) -> None:
        """As in the contract."""
        if not self._state.leases.extend(claim, lease):
            raise transitions.lost(claim)

    def waits(self, claim: Claim, *, waits: bool) -> None:
        """As in the contract."""
        self._state.leases.wait(claim, waits=waits)
        self._state.changes.tell([claim.job.id])

    async def append(self, claim: Claim, output: str, responses: Sequence[Response] = ()) -> None:
        """As in the contract."""
        state = self._state
        most = state.rules.most_results()
        await state.database.write(
            lambda connection: transitions.append(connection, claim, output, responses, most),
            then=lambda _: state.changes.tell([claim.job.id]),
        )

    async def finish(self, claim: Claim, output: str, responses: Sequence[Response]) -> None:
        """As in the contract."""
        now, most = self._state.clock(), self._state.rules.most_results()
        await self._given_back(
            claim,
            lambda connection: transitions.finish(connection, claim, output, responses, now, most),
            again=False,
        )

    async def fail(self, claim: Claim, reason: str, *, retry: bool) -> Job:
        """As in the contract."""
        state = self._state
        now, job = state.clock(), claim.job
        attempt = Attempt(
            claim.worker, job.started or now, now, AttemptEnd.FAILED, reason[:_LONGEST]
        )

        def work(connection: Connection) -> Job:
            transitions.fail(connection, claim, attempt, state.rules.policy(), retry=retry)
            return rows.find(connection, [job.id])[0]

        return await self._given_back(claim, work, again=retry)

    async def release(self, claim: Claim, *, pause: float = 0.0, turns: int = 0) -> None:
        """As in the contract."""
        due = self._state.clock() + pause if pause else None
        await self._given_back(
            claim, lambda connection: transitions.release(connection, claim, due, turns), again=True
        )

    async def _given_back(self, claim: Claim, work: Callable[[Connection], T], *, again: bool) -> T:
        """Let a worker be done with a job; `again`: somebody may have it now or later."""
        state = self._state

        def then(_: T) -> None:
            state.leases.give_back(claim)
            state.changes.tell([claim.job.id])
            if again:
                state.work.wake()

        return await state.database.write(work, then=then)

    def tell_of_losses(self, listener: LossListener) -> None:
        """As in the contract."""
        self._state.leases.listeners.append(listener)
