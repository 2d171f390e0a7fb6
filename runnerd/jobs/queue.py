"""The queue of jobs, as a contract that `sqlite` and the fleet's queue both keep.

Jobs are run at least once and have one result: a claim carries a fencing token, and every change
that a worker makes to a job takes the token that counts then.  Whoever was thought dead and comes
back late changes nothing and hears `LeaseLost`.

| call | by | when it returns |
|---|---|---|
| submit | whoever has work | the jobs are on the disk, or confirmed by the broker |
| claim, wait_for_work | a worker | the jobs are that worker's for `lease` seconds |
| extend, append, finish, fail, release | a worker | the change counts; raises LeaseLost otherwise |
| cancel, delete | whose job it is | no worker can write to it any more |
| get, select, counts, watch | anybody | |

`tests/support/queue_suite.py` holds every implementation against this.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from runnerd.jobs.group_summary import GroupSummary
from runnerd.jobs.job import Job, JobState, NewJob, Response


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's hold on a job.  Of two claims on one job the one with the higher token counts."""

    job: Job
    token: int
    worker: str


@dataclass(frozen=True, slots=True)
class Count:
    """How many jobs of a principal (its id), for a model, are in a state."""

    principal: str
    model: str
    state: JobState
    number: int


@dataclass(frozen=True, slots=True)
class Taken:
    """How many bytes jobs take that are kept: what they ask, and what came of them."""

    prompts: int
    results: int


@dataclass(frozen=True, slots=True)
class Selection:
    """Which jobs to list, the newest first; None: whichever.

    `before` is the id of a job: only older ones.
    """

    principal: str | None = None
    model: str | None = None
    state: JobState | None = None
    group: str | None = None
    before: str | None = None
    limit: int = 100


LossListener = Callable[[str, int], None]
"""Is told of a job's id and the token that counts for it no more."""


class Submission(Protocol):
    """The queue as those see it who have work.

    All that waits for a database or a broker raises errors.DatabaseFailure, StorageFailure or
    InsufficientStorage where it cannot be reached or written; nothing has changed then, or, for a
    broker that did not answer, trying again is harmless.
    """

    async def submit(self, jobs: Sequence[NewJob]) -> list[Job]:
        """Keep jobs, all or none; return once they survive a power cut.

        An id that the same principal has submitted before is that job as it stands, and nothing is
        kept.  Raises errors.Conflict for an id of somebody else's job, LimitReached where the
        principal has too many that have not ended, or too many bytes of prompts or results.
        """
        ...

    async def get(self, ids: Sequence[str], *, principal: str | None = None) -> list[Job]:
        """The jobs with these ids, whole, in that order; what there is not is left out.

        With `principal` (an id) somebody else's jobs are as those that there are not.
        """
        ...

    async def select(self, selection: Selection) -> list[Job]:
        """Jobs without their prompts, output and responses, the newest first."""
        ...

    async def counts(self, *, principal: str | None = None) -> list[Count]:
        """How many jobs there are, by principal, model and state; without counting them."""
        ...

    async def taken(self, *, principal: str | None = None) -> Taken:
        """How many bytes the jobs of a principal take, or all; without looking at them."""
        ...

    async def summary(self, group: str) -> GroupSummary:
        """How the jobs of a group stand."""
        ...

    def watch(self, id: str) -> AsyncIterator[Job]:
        """The job as it is, and again whenever it has changed, until it has ended or is gone.

        Changes that come in quick succession may be told as one.
        """
        ...

    async def cancel(self, id: str) -> Job | None:
        """End a job that has not ended; its worker is told.  The job as it stands then, None for
        one that there is not.
        """
        ...

    async def cancel_group(self, group: str) -> int:
        """Cancel the jobs of a group that have not ended; how many those were."""
        ...

    async def retry(self, id: str) -> Job | None:
        """Queue a job again that has failed, was cancelled or has expired, with a clean record.
        None for one that there is not; what has not ended or has completed stays as it is.
        """
        ...

    async def delete(self, ids: Sequence[str]) -> int:
        """Forget jobs and all that came of them, however they stand; how many there were."""
        ...


class Work(Protocol):
    """The queue as workers see it.  Raises as `Submission` does."""

    async def wait_for_work(self, worker: str) -> None:
        """Return when there may be something to claim that was not there when this worker (its
        name) claimed last; at once where that is not known.
        """
        ...

    async def claim(
        self,
        worker: str,
        *,
        limit: int = 1,
        lease: float = 60.0,
        models: Collection[str] | None = None,
    ) -> list[Claim]:
        """Take up to `limit` jobs that wait, for a `worker` (its name), `lease` seconds long.

        They come in the queue's order: fair between principals, a higher priority with a head
        start.  With `models` only theirs.  The output of an earlier attempt is gone from them, the
        responses that it had are kept.
        """
        ...

    async def extend(self, claim: Claim, lease: float) -> None:
        """Keep a job for another `lease` seconds from now.  Raises errors.LeaseLost."""
        ...

    def waits(self, claim: Claim, *, waits: bool) -> None:
        """A job that was claimed waits for a place at its model, or does so no more.

        Nothing is written down; to whoever looks the job is queued as long as it waits.  A queue
        whose workers are elsewhere, and claim what they have places for, need not tell.
        """
        ...

    async def append(self, claim: Claim, output: str, responses: Sequence[Response] = ()) -> None:
        """Add to a job's output, and the responses of its next prompts.  Raises
        errors.LeaseLost, and ResultsFull where the principal's jobs have as many bytes of both as
        they may have; nothing is added then.
        """
        ...

    async def finish(self, claim: Claim, output: str, responses: Sequence[Response]) -> None:
        """A job has completed: `output` and `responses` are what was not appended yet.  Raises
        as `append`.
        """
        ...

    async def fail(self, claim: Claim, reason: str, *, retry: bool) -> Job:
        """An attempt came to nothing.  With `retry` the job is tried again after a pause that grows
        (`retries.RetryPolicy`), as long as that makes sense; the job as it stands then.  Raises
        errors.LeaseLost.
        """
        ...

    async def release(self, claim: Claim, *, pause: float = 0.0, turns: int = 0) -> None:
        """Give a job back untouched, for anybody after `pause` seconds: no attempt is counted.
        It comes so many `turns` later in the queue's order than before.  Raises errors.LeaseLost.
        """
        ...

    def tell_of_losses(self, listener: LossListener) -> None:
        """Call `listener`, on the event loop, for each claim that was taken away: its job was
        cancelled or deleted, has expired, or was given to another worker.
        """
        ...


class Queue(Submission, Work, Protocol):
    """Keeps jobs until they have ended, and their results for a time after that."""


class OpenedQueue(Queue, Protocol):
    """A queue that has something to look after as long as it is open."""

    async def open(self) -> None:
        """Begin to look after jobs."""
        ...

    async def close(self) -> None:
        """Look no more.  Idempotent."""
        ...
