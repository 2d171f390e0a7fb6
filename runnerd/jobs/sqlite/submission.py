"""The queue as those see it who have work."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from dataclasses import replace

from runnerd.database import Connection
from runnerd.errors import Conflict, LimitReached
from runnerd.jobs.group_summary import GroupSummary
from runnerd.jobs.job import Job, JobState, NewJob, new_id, queued
from runnerd.jobs.queue import Count, Selection, Taken
from runnerd.jobs.results_limit import too_many_results
from runnerd.jobs.sqlite import rows, transitions
from runnerd.jobs.sqlite.state import QueueState
from runnerd.jobs.sqlite.transitions import Ended

_SOON = 60.0  # seconds until some of too many jobs may have ended
_LATER = 3600.0  # seconds until some of them may be old enough to be gone


class SqliteSubmission:
    """`queue.Submission` over the database."""

    def __init__(self, state: QueueState) -> None:
        self._state = state

    async def submit(self, jobs: Sequence[NewJob]) -> list[Job]:
        """As in the contract."""
        state = self._state
        now, most, most_bytes = state.clock(), state.rules.most_open(), state.rules.most_bytes()
        most_results = state.rules.most_results()
        named = [(job.id or new_id(), job) for job in state.rules.allowed(jobs)]

        def work(connection: Connection) -> list[Job]:
            kept, new = _insert(connection, named, now, most)
            _check_bytes(connection, {job.principal.id for job in jobs}, most_bytes)
            _check_results(connection, new, most_results)
            return kept

        def then(kept: list[Job]) -> None:
            for job in kept:
                state.deadline(job.deadline)
            state.work.wake()

        return await state.database.write(work, then=then)

    async def get(self, ids: Sequence[str], *, principal: str | None = None) -> list[Job]:
        """As in the contract."""
        found = await self._state.database.read(lambda connection: rows.find(connection, ids))
        return [self._seen(job) for job in found if principal in (None, job.principal.id)]

    async def select(self, selection: Selection) -> list[Job]:
        """As in the contract."""
        waiting = [job.id for job in self._state.leases.waiting()]
        found = await self._state.database.read(
            lambda connection: rows.select(connection, selection, waiting)
        )
        return [self._seen(job) for job in found]

    async def counts(self, *, principal: str | None = None) -> list[Count]:
        """As in the contract."""
        found = await self._state.database.read(
            lambda connection: rows.counts(connection, principal)
        )
        return with_waiting(found, self._state.leases.waiting(), principal)

    async def taken(self, *, principal: str | None = None) -> Taken:
        """As in the contract."""
        return await self._state.database.read(lambda connection: rows.taken(connection, principal))

    def _seen(self, job: Job) -> Job:
        """A job as it is shown: one that was claimed and waits for a place is queued."""
        if job.state is JobState.RUNNING and self._state.leases.waits(job.id):
            return replace(job, state=JobState.QUEUED, started=None)
        return job

    async def summary(self, group: str) -> GroupSummary:
        """As in the contract."""
        return await self._state.database.read(lambda connection: rows.summary(connection, group))

    async def watch(self, id: str) -> AsyncIterator[Job]:
        """As in the contract."""
        with self._state.changes.of(id) as changed:
            while True:
                changed.clear()
                found = await self.get([id])
                if not found:
                    return
                yield found[0]
                if found[0].state.ended:
                    return
                await changed.wait()

    async def cancel(self, id: str) -> Job | None:
        """As in the contract."""
        await self._cancel("id = ?", id)
        return next(iter(await self.get([id])), None)

    async def cancel_group(self, group: str) -> int:
        """As in the contract."""
        return len(await self._cancel("grp = ? AND grp != ''", group))

    async def _cancel(self, where: str, value: str) -> list[Ended]:
        state = self._state
        now = state.clock()
        return await state.database.write(
            lambda connection: transitions.cancel(connection, where, value, now), then=state.ended
        )

    async def retry(self, id: str) -> Job | None:
        """As in the contract."""
        state = self._state
        now = state.clock()

        def then(queued: bool) -> None:
            if queued:
                state.changes.tell([id])
                state.work.wake()

        await state.database.write(
            lambda connection: transitions.retry(connection, id, now), then=then
        )
        return next(iter(await self.get([id])), None)

    async def delete(self, ids: Sequence[str]) -> int:
        """As in the contract."""
        state = self._state
        gone = await state.database.write(
            lambda connection: transitions.delete(connection, ids), then=state.ended
        )
        return len(gone)


def with_waiting(
    counts: Iterable[Count], waiting: Iterable[Job], principal: str | None
) -> list[Count]:
    """Counts in which jobs that were claimed and wait for a place are queued."""
    found: Counter[tuple[str, str, JobState]] = Counter()
    for count in counts:
        found[count.principal, count.model, count.state] += count.number
    for job in waiting:
        whose = job.principal.id
        if principal in (None, whose) and found[whose, job.model, JobState.RUNNING]:
            found[whose, job.model, JobState.RUNNING] -= 1
            found[whose, job.model, JobState.QUEUED] += 1
    return [Count(*of, number) for of, number in sorted(found.items()) if number]


def _insert(
    connection: Connection, named: Sequence[tuple[str, NewJob]], now: float, most: int
) -> tuple[list[Job], Collection[str]]:
    """Add the jobs that are not there yet; all jobs, and whose (their ids) any new ones are.

    Raises errors.Conflict, LimitReached.
    """
    room: dict[str, int] = {}
    jobs = []
    for id, new in named:
        principal = new.principal.id
        owner = rows.owner_of(connection, id) if new.id else None
        if owner is not None:
            if owner != principal:
                raise Conflict(f"there is a job with the id {id} already; choose another one")
            jobs += rows.find(connection, [id])
            continue
        if principal not in room:
            room[principal] = most - rows.open_jobs(connection, principal)
        if room[principal] <= 0:
            raise LimitReached(
                f"{most} of your jobs have not ended, which is the most (jobs_open)",
                limit="jobs_open",
                retry_after=_SOON,
            )
        room[principal] -= 1
        rows.insert(connection, id, new, now)
        jobs.append(queued(id, new, now))
    return jobs, room


def _check_bytes(connection: Connection, principals: Collection[str], most: int) -> None:
    """Hold what there is now to what there may be.  Raises errors.LimitReached."""
    for principal in principals:
        if rows.prompt_bytes(connection, principal) > most:
            raise LimitReached(
                f"the prompts of your jobs would take more than {most} bytes, which is the most"
                " (jobs.bytes); delete some, or wait until those that have ended are old enough",
                limit="jobs_bytes",
                retry_after=_LATER,
            )


def _check_results(connection: Connection, principals: Collection[str], most: int) -> None:
    """Refuse more jobs of whoever has as many bytes of results as there may be.

    Raises errors.LimitReached.
    """
    for principal in principals:
        if rows.result_bytes(connection, principal) >= most:
            raise too_many_results(most)
