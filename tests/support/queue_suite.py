"""What every queue of jobs promises, as tests that take any implementation.

A module of an implementation has a fixture `host` (a `QueueHost`) and does
`from tests.support.queue_suite import *`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import pytest

from runnerd import tasks
from runnerd.access import Principal
from runnerd.access.principals import owner_principal, user_principal
from runnerd.errors import Conflict, LeaseLost, LimitReached, ResultsFull
from runnerd.jobs.job import AttemptEnd, Job, JobState, NewJob, Prompt, Response
from runnerd.jobs.queue import Claim, Queue, Selection, Taken

ANN = user_principal("ann", "key")
BOB = user_principal("bob", "key")
OWNER = owner_principal(0)
PROMPT = Prompt("/v1/chat/completions", b'{"model":"m","messages":[]}')
GOOD = Response(200, b'{"choices":[]}')

__all__ = [
    "TestGroups", "TestLife", "TestOrder", "TestResults", "TestRetries", "TestWatching",
    "TestWorkers",
]  # fmt: skip


class QueueHost(Protocol):
    """A queue under test, empty at first.

    `MOST_OPEN` jobs of a principal may be open, and their results take `MOST_RESULTS` bytes; a job
    fails with its third failure and with its third lost worker; back-off is a second at first;
    results are kept for a day.
    """

    MOST_OPEN: int
    MOST_RESULTS: int

    @property
    def queue(self) -> Queue:
        """The queue as it is now; a restart makes another one."""
        ...

    async def pass_time(self, seconds: float) -> None:
        """Let the queue believe that so much time has passed, and let it look after itself."""
        ...

    async def restart(self) -> None:
        """End the queue without a word and open it again on what it has kept."""
        ...


def new(
    model: str = "m", *, principal: Principal = ANN, prompts: int = 1, **fields: object
) -> NewJob:
    """A job."""
    return NewJob(principal, model, (PROMPT,) * prompts, **fields)  # type: ignore[arg-type]


async def submitted(host: QueueHost, *jobs: NewJob) -> list[Job]:
    """Submit jobs one after the other."""
    return [(await host.queue.submit([job]))[0] for job in jobs]


async def claimed(host: QueueHost, worker: str = "w", **fields: object) -> Claim:
    """Claim the only job that can be had."""
    [claim] = await host.queue.claim(worker, **fields)  # type: ignore[arg-type]
    return claim


async def found(host: QueueHost, id: str) -> Job:
    """A job as it stands."""
    [job] = await host.queue.get([id])
    return job


def ids(claims: Sequence[Claim]) -> list[str]:
    """Whose claims these are."""
    return [claim.job.id for claim in claims]


class TestLife:
    """From submission to the end."""

    async def test_a_job_is_what_was_submitted(self, host: QueueHost) -> None:
        """Everything that was said of it is there."""
        wanted = new(
            "a model",
            prompts=2,
            id="my-id_1",
            priority=3,
            runtime=60.0,
            group="g",
            copy=1,
            streams=True,
            details={"app": "x"},
            waited_for=True,
        )
        [job] = await host.queue.submit([wanted])
        assert job == await found(host, "my-id_1")
        assert (job.principal, job.model, job.prompts) == (ANN, "a model", (PROMPT, PROMPT))
        assert (job.priority, job.runtime, job.group, job.copy) == (3, 60.0, "g", 1)
        assert (job.streams, dict(job.details), job.state) == (True, {"app": "x"}, JobState.QUEUED)
        assert job.waited_for
        assert (job.started, job.ended, job.attempts, job.output, job.responses) == (
            None,
            None,
            (),
            "",
            (),
        )

    async def test_it_completes(self, host: QueueHost) -> None:
        """A worker gets it whole, and its result stays."""
        [job] = await submitted(host, new())
        claim = await claimed(host)
        assert claim.job.prompts == (PROMPT,)
        assert (await found(host, job.id)).state is JobState.RUNNING
        await host.queue.finish(claim, "text", [GOOD])
        done = await found(host, job.id)
        assert (done.state, done.output, done.responses) == (JobState.COMPLETED, "text", (GOOD,))
        assert done.ended is not None
        assert await host.queue.claim("w") == []

    async def test_the_same_id_is_the_same_job(self, host: QueueHost) -> None:
        """Submitting again changes nothing, whatever has become of it meanwhile."""
        [first] = await submitted(host, new(id="once"))
        [again] = await submitted(host, new("other", id="once"))
        assert again == first
        await host.queue.finish(await claimed(host), "", [GOOD])
        [later] = await submitted(host, new(id="once"))
        assert later.state is JobState.COMPLETED
        assert await host.queue.claim("w") == []

    async def test_an_id_twice_in_one_call(self, host: QueueHost) -> None:
        """That is one job, told twice."""
        first, second = await host.queue.submit([new(id="once"), new(id="once")])
        assert first == second
        assert len(await host.queue.claim("w", limit=5)) == 1

    async def test_an_id_of_somebody_else(self, host: QueueHost) -> None:
        """It is refused, and nothing else of that call is kept."""
        await submitted(host, new(id="mine"))
        with pytest.raises(Conflict):
            await host.queue.submit([new(principal=BOB, id="x"), new(principal=BOB, id="mine")])
        assert await host.queue.get(["x"]) == []

    async def test_others_jobs_are_not_there(self, host: QueueHost) -> None:
        """For whom asks as a principal."""
        [job] = await submitted(host, new())
        assert await host.queue.get([job.id], principal=BOB.id) == []
        assert await host.queue.get([job.id, "none"], principal=ANN.id) == [job]

    async def test_too_many_open_jobs(self, host: QueueHost) -> None:
        """One principal has so many at most; others are not concerned; all or none are kept."""
        jobs = [new() for _ in range(host.MOST_OPEN)]
        kept = await host.queue.submit(jobs[:-1])
        with pytest.raises(LimitReached):
            await host.queue.submit([new(), new()])
        await submitted(host, new(), new(principal=BOB))
        with pytest.raises(LimitReached):
            await submitted(host, new())
        await host.queue.cancel(kept[0].id)
        await submitted(host, new())

    async def test_it_survives(self, host: QueueHost) -> None:
        """What was acknowledged is there after a restart, done or not."""
        done, waits = await submitted(host, new(), new())
        claim = await claimed(host)
        await host.queue.finish(claim, "text", [GOOD])
        before = await host.queue.get([done.id, waits.id])
        await host.restart()
        assert await host.queue.get([done.id, waits.id]) == before
        assert ids(await host.queue.claim("w", limit=5)) == [waits.id]

    async def test_results_are_kept_for_a_time(self, host: QueueHost) -> None:
        """Then they are gone, and what has not ended stays."""
        done, waits = await submitted(host, new(), new())
        await host.queue.finish(await claimed(host), "", [GOOD])
        await host.pass_time(3600)
        assert (await found(host, done.id)).state is JobState.COMPLETED
        await host.pass_time(86400)
        assert [job.id for job in await host.queue.get([done.id, waits.id])] == [waits.id]

    async def test_a_deadline(self, host: QueueHost) -> None:
        """What has not ended by then has expired; a worker's result comes too late."""
        [probe] = await submitted(host, new())
        jobs = [new(deadline=probe.created + 100) for _ in range(2)]
        await host.queue.delete([probe.id])
        running, waits = await submitted(host, *jobs)
        claim = await claimed(host, lease=1000)
        lost: list[tuple[str, int]] = []
        host.queue.tell_of_losses(lambda id, token: lost.append((id, token)))
        await host.pass_time(200)
        for job in (running, waits):
            assert (await found(host, job.id)).state is JobState.EXPIRED
        assert lost == [(running.id, claim.token)]
        with pytest.raises(LeaseLost):
            await host.queue.finish(claim, "", [GOOD])
        assert await host.queue.claim("w") == []


class TestWorkers:
    """Claims and their tokens."""

    async def test_a_job_is_one_workers(self, host: QueueHost) -> None:
        """However many claim at once."""
        jobs = await submitted(host, *(new() for _ in range(10)))
        claims = await asyncio.gather(*(host.queue.claim(f"w{n}", limit=3) for n in range(5)))
        taken = [id for each in claims for id in ids(each)]
        assert sorted(taken) == sorted(job.id for job in jobs)

    async def test_output_grows(self, host: QueueHost) -> None:
        """And is there while it runs; responses come prompt by prompt."""
        [job] = await submitted(host, new(prompts=2))
        claim = await claimed(host)
        await host.queue.append(claim, "one ")
        assert (await found(host, job.id)).output == "one "
        await host.queue.append(claim, "two ", [GOOD])
        grown = await found(host, job.id)
        assert (grown.output, grown.responses) == ("one two ", (GOOD,))
        await host.queue.finish(claim, "three", [GOOD])
        done = await found(host, job.id)
        assert (done.output, done.responses) == ("one two three", (GOOD, GOOD))

    async def test_a_lost_worker(self, host: QueueHost) -> None:
        """Its job is another's once it was not heard of for longer than its lease, and its late
        result is refused.
        """
        [job] = await submitted(host, new(prompts=2))
        late = await claimed(host, "late", lease=10)
        await host.queue.append(late, "half a", [GOOD])
        await host.queue.append(late, "half b")
        await host.pass_time(5)
        assert await host.queue.claim("other") == []
        await host.pass_time(6)
        claim = await claimed(host, "other", lease=10)
        assert claim.token > late.token
        assert (claim.job.output, claim.job.responses) == ("", (GOOD,))
        for call in (
            host.queue.extend(late, 10),
            host.queue.append(late, "x"),
            host.queue.finish(late, "x", [GOOD]),
            host.queue.fail(late, "x", retry=True),
            host.queue.release(late),
        ):
            with pytest.raises(LeaseLost):
                await call
        await host.queue.finish(claim, "whole", [GOOD])
        done = await found(host, job.id)
        assert (done.output, done.responses) == ("whole", (GOOD, GOOD))
        [attempt] = done.attempts
        assert (attempt.worker, attempt.end) == ("late", AttemptEnd.LOST)

    async def test_a_lease_is_extended(self, host: QueueHost) -> None:
        """As long as its worker says so."""
        [job] = await submitted(host, new())
        claim = await claimed(host, lease=10)
        for _ in range(3):
            await host.pass_time(6)
            await host.queue.extend(claim, 10)
        await host.queue.finish(claim, "", [GOOD])
        assert (await found(host, job.id)).attempts == ()

    async def test_a_restart_recovers(self, host: QueueHost) -> None:
        """What ran is run again, and what was under way then is too late."""
        [job] = await submitted(host, new())
        late = await claimed(host, lease=10)
        await host.restart()
        await host.pass_time(20)  # a broker may not know at once
        claim = await claimed(host)
        assert (claim.job.id, claim.token > late.token) == (job.id, True)
        with pytest.raises(LeaseLost):
            await host.queue.finish(late, "late", [GOOD])
        await host.queue.finish(claim, "", [GOOD])
        assert (await found(host, job.id)).output == ""

    async def test_nothing_is_done_twice(self, host: QueueHost) -> None:
        """A claim that was used up counts no more."""
        await submitted(host, new())
        claim = await claimed(host)
        await host.queue.finish(claim, "", [GOOD])
        with pytest.raises(LeaseLost):
            await host.queue.finish(claim, "", [GOOD])
        with pytest.raises(LeaseLost):
            await host.queue.append(claim, "more")

    async def test_released(self, host: QueueHost) -> None:
        """A job that was given back keeps its place and a clean record."""
        first, _ = await submitted(host, new(), new())
        claim = await claimed(host)
        await host.queue.release(claim)
        claim = await claimed(host)
        assert (claim.job.id, claim.job.attempts) == (first.id, ())
        assert (claim.job.worker, claim.job.given_back) == ("w", 1)
        await host.queue.finish(claim, "", [GOOD])
        done = await found(host, first.id)
        assert (done.worker, done.given_back) == ("w", 1)

    async def test_released_for_later(self, host: QueueHost) -> None:
        """Others are next meanwhile."""
        first, second = await submitted(host, new(), new())
        await host.queue.release(await claimed(host), pause=30)
        assert ids(await host.queue.claim("w", limit=5)) == [second.id]
        await host.pass_time(31)
        assert ids(await host.queue.claim("w", limit=5)) == [first.id]

    async def test_released_turns_later(self, host: QueueHost) -> None:
        """Somebody else's job is next, and then this one."""
        mine, others = await submitted(host, new(), new(principal=BOB))
        await host.queue.release(await claimed(host), turns=2)
        assert ids(await host.queue.claim("w", limit=5)) == [others.id, mine.id]

    async def test_work_wakes(self, host: QueueHost) -> None:
        """A worker that waits hears of what is submitted, without asking again and again."""
        assert await host.queue.claim("w") == []
        waiting = tasks.spawn(host.queue.wait_for_work("w"), name="wait")
        await submitted(host, new())
        await waiting
        claim = await claimed(host)
        assert await host.queue.claim("w") == []
        waiting = tasks.spawn(host.queue.wait_for_work("w"), name="wait")
        await host.queue.release(claim)
        await waiting

    async def test_work_that_came_before(self, host: QueueHost) -> None:
        """Is not slept through."""
        assert await host.queue.claim("w") == []
        await submitted(host, new())
        await host.queue.wait_for_work("w")
        assert len(await host.queue.claim("w")) == 1


class TestResults:
    """What a principal's results may take together."""

    async def test_what_does_not_fit_is_refused(self, host: QueueHost) -> None:
        """Nothing of it is added; the job can fail, and others' jobs are not concerned."""
        await submitted(host, new(), new(principal=BOB))
        [mine, bobs] = await host.queue.claim("w", limit=2)
        large = "x" * (host.MOST_RESULTS - 10)
        await host.queue.append(mine, large)
        for add in (host.queue.append, host.queue.finish):
            with pytest.raises(ResultsFull, match=str(host.MOST_RESULTS)):
                await add(mine, "y" * 20, [GOOD])
        job = await found(host, mine.job.id)
        assert (job.state, job.output, job.responses) == (JobState.RUNNING, large, ())
        await host.queue.finish(bobs, large, [])
        await host.queue.finish(mine, "y" * 10, [])
        assert (await found(host, mine.job.id)).output == large + "y" * 10

    async def test_nothing_more_is_taken_until_there_is_room(self, host: QueueHost) -> None:
        """What there was already is told as before.  Deleting makes room, also after a restart."""
        [job] = await submitted(host, new(id="full"))
        await host.queue.finish(await claimed(host), "x" * host.MOST_RESULTS, [])
        await host.restart()
        with pytest.raises(LimitReached, match=r"jobs\.result_bytes"):
            await host.queue.submit([new()])
        await submitted(host, new(id="full"), new(principal=BOB))
        await host.queue.delete([job.id])
        assert await host.queue.taken(principal=ANN.id) == Taken(0, 0)
        await submitted(host, new())
        assert len(await host.queue.claim("w", limit=5)) == 2

    async def test_what_is_taken_is_told(self, host: QueueHost) -> None:
        """Of one principal, and of all."""
        await submitted(host, new(), new(principal=BOB))
        for claim in await host.queue.claim("w", limit=2):
            await host.queue.append(claim, "x" * 10)
            await host.queue.finish(claim, "y" * 20, [])
        assert (await host.queue.taken(principal=ANN.id)).results == 30
        every, anns = await host.queue.taken(), await host.queue.taken(principal=ANN.id)
        assert (every.results, every.prompts > anns.prompts > 0) == (60, True)
        assert await host.queue.taken(principal=OWNER.id) == Taken(0, 0)

    async def test_what_an_attempt_had_is_given_back(self, host: QueueHost) -> None:
        """With the next one, and where somebody has it tried again."""
        await submitted(host, new(id="again"))
        for _ in range(3):
            claim = await claimed(host)
            await host.queue.append(claim, "x" * (host.MOST_RESULTS - len(GOOD.body) - 50), [GOOD])
            await host.queue.release(claim)
            claim = await claimed(host)
            assert claim.job.responses == (GOOD,)
            await host.queue.append(claim, "x" * (host.MOST_RESULTS - len(GOOD.body) - 50))
            await host.queue.fail(claim, "no", retry=False)
            await host.queue.retry(claim.job.id)


class TestOrder:
    """Who is next."""

    async def test_fair_between_principals(self, host: QueueHost) -> None:
        """Who comes with one job does not stand behind somebody's hundred."""
        many = await host.queue.submit([new() for _ in range(6)])
        [one] = await submitted(host, new(principal=BOB))
        order = ids(await host.queue.claim("w", limit=10))
        assert order.index(one.id) <= 1
        assert [id for id in order if id != one.id] == [job.id for job in many]

    async def test_a_priority_is_a_head_start(self, host: QueueHost) -> None:
        """Higher ones come first, equal ones as they came."""
        low, usual, again, high = await submitted(
            host, new(priority=-1), new(), new(), new(priority=5)
        )
        order = ids(await host.queue.claim("w", limit=10))
        assert order == [high.id, usual.id, again.id, low.id]

    async def test_of_some_models(self, host: QueueHost) -> None:
        """A worker may have models of its own."""
        _, b, c = await submitted(host, new("a"), new("b"), new("c"))
        assert ids(await host.queue.claim("w", limit=5, models=["b", "c", "d"])) == [b.id, c.id]
        assert await host.queue.claim("w", limit=5, models=[]) == []


class TestRetries:
    """What fails."""

    async def test_tried_again_later(self, host: QueueHost) -> None:
        """After a pause, with the reason on record."""
        [job] = await submitted(host, new())
        failed = await host.queue.fail(await claimed(host), "no luck", retry=True)
        assert failed.state is JobState.QUEUED
        assert await host.queue.claim("w") == []
        await host.pass_time(5)
        claim = await claimed(host)
        [attempt] = claim.job.attempts
        assert (attempt.reason, attempt.end) == ("no luck", AttemptEnd.FAILED)
        await host.queue.finish(claim, "", [GOOD])
        assert (await found(host, job.id)).state is JobState.COMPLETED

    async def test_no_more_tries(self, host: QueueHost) -> None:
        """Then it has failed, with the reasons of each try."""
        [job] = await submitted(host, new())
        for number in range(3):
            await host.pass_time(100)
            await host.queue.fail(await claimed(host), f"reason {number}", retry=True)
        await host.pass_time(1000)
        assert await host.queue.claim("w") == []
        failed = await found(host, job.id)
        assert (failed.state, failed.reason) == (JobState.FAILED, "reason 2")
        assert [each.reason for each in failed.attempts] == ["reason 0", "reason 1", "reason 2"]

    async def test_nothing_to_be_tried(self, host: QueueHost) -> None:
        """What cannot succeed has failed at once."""
        [job] = await submitted(host, new())
        await host.queue.fail(await claimed(host), "malformed", retry=False)
        failed = await found(host, job.id)
        assert (failed.state, failed.reason) == (JobState.FAILED, "malformed")

    async def test_a_job_that_takes_workers_with_it(self, host: QueueHost) -> None:
        """Ends as failed, too."""
        [job] = await submitted(host, new())
        for _ in range(3):
            await claimed(host, lease=10)
            await host.pass_time(20)
        assert await host.queue.claim("w") == []
        failed = await found(host, job.id)
        assert (failed.state, len(failed.attempts)) == (JobState.FAILED, 3)

    async def test_an_owner_tries_again(self, host: QueueHost) -> None:
        """What has failed gets a clean record; what has not is left alone."""
        [job] = await submitted(host, new())
        await host.queue.fail(await claimed(host), "malformed", retry=False)
        again = await host.queue.retry(job.id)
        assert again is not None
        assert (again.state, again.attempts, again.reason) == (JobState.QUEUED, (), "")
        claim = await claimed(host)
        same = await host.queue.retry(job.id)
        assert same is not None
        assert same.state is JobState.RUNNING
        await host.queue.finish(claim, "", [GOOD])
        assert await host.queue.retry("none") is None


class TestGroups:
    """Cancelling, deleting, listing, counting."""

    async def test_cancelled(self, host: QueueHost) -> None:
        """Its worker is told, and changes nothing any more."""
        runs, waits = await submitted(host, new(), new())
        claim = await claimed(host)
        lost: list[tuple[str, int]] = []
        host.queue.tell_of_losses(lambda id, token: lost.append((id, token)))
        for job in (runs, waits):
            cancelled = await host.queue.cancel(job.id)
            assert cancelled is not None
            assert cancelled.state is JobState.CANCELLED
        assert lost == [(runs.id, claim.token)]
        with pytest.raises(LeaseLost):
            await host.queue.finish(claim, "late", [GOOD])
        assert (await found(host, runs.id)).output == ""
        assert await host.queue.claim("w") == []
        assert await host.queue.cancel("none") is None

    async def test_what_has_ended_is_not_cancelled(self, host: QueueHost) -> None:
        """It stays what it is."""
        [job] = await submitted(host, new())
        await host.queue.finish(await claimed(host), "", [GOOD])
        same = await host.queue.cancel(job.id)
        assert same is not None
        assert same.state is JobState.COMPLETED

    async def test_a_group_is_cancelled(self, host: QueueHost) -> None:
        """And nothing else."""
        jobs = await submitted(host, new(group="g"), new(group="g"), new(), new(group="h"))
        assert await host.queue.cancel_group("g") == 2
        assert await host.queue.cancel_group("g") == 0
        states = [job.state for job in await host.queue.get([job.id for job in jobs])]
        assert states == [JobState.CANCELLED, JobState.CANCELLED, JobState.QUEUED, JobState.QUEUED]

    async def test_a_groups_summary(self, host: QueueHost) -> None:
        """How many are in which state, and when the last one ended."""
        jobs = await submitted(host, *(new(group="g") for _ in range(3)), new())
        assert (await host.queue.summary("g")).ended is None
        await host.queue.finish(await claimed(host), "", [GOOD])
        await host.queue.cancel(jobs[1].id)
        found = await host.queue.summary("g")
        assert dict(found.states) == {
            JobState.COMPLETED: 1,
            JobState.CANCELLED: 1,
            JobState.QUEUED: 1,
        }
        ended = [job.ended for job in await host.queue.get([job.id for job in jobs[:2]])]
        assert (found.ended, found.open) == (max(time or 0.0 for time in ended), 1)
        assert dict((await host.queue.summary("none")).states) == {}

    async def test_deleted(self, host: QueueHost) -> None:
        """Nothing is left of them, and a worker is told."""
        runs, waits = await submitted(host, new(), new())
        claim = await claimed(host)
        lost: list[tuple[str, int]] = []
        host.queue.tell_of_losses(lambda id, token: lost.append((id, token)))
        assert await host.queue.delete([runs.id, waits.id, "none"]) == 2
        assert lost == [(runs.id, claim.token)]
        assert await host.queue.get([runs.id, waits.id]) == []
        with pytest.raises(LeaseLost):
            await host.queue.finish(claim, "late", [GOOD])
        assert sum(count.number for count in await host.queue.counts()) == 0

    async def test_listed(self, host: QueueHost) -> None:
        """The newest first, those that are asked for, page by page."""
        a, b, c = await submitted(host, new("x"), new("y", group="g"), new("x", principal=BOB))

        async def listed(**said: object) -> list[str]:
            jobs = await host.queue.select(Selection(**said))  # type: ignore[arg-type]
            return [job.id for job in jobs]

        assert await listed() == [c.id, b.id, a.id]
        assert await listed(principal=ANN.id) == [b.id, a.id]
        assert await listed(model="x") == [c.id, a.id]
        assert await listed(group="g") == [b.id]
        assert await listed(state=JobState.RUNNING) == []
        assert await listed(limit=1, before=c.id) == [b.id]
        [shown] = await host.queue.select(Selection(group="g"))
        assert shown.prompts == ()

    async def test_counted(self, host: QueueHost) -> None:
        """By principal, model and state."""
        await submitted(host, new("x"), new("x"), new("y", principal=BOB))
        await host.queue.finish(await claimed(host), "", [GOOD])

        async def counts(**said: str) -> set[tuple[str, str, str, int]]:
            return {
                (each.principal, each.model, each.state, each.number)
                for each in await host.queue.counts(**said)
            }

        waits = (BOB.id, "y", "queued", 1)
        assert await counts() == {
            (ANN.id, "x", "queued", 1),
            (ANN.id, "x", "completed", 1),
            waits,
        }
        assert await counts(principal=BOB.id) == {waits}


class TestWatching:
    """News of one job."""

    async def test_until_it_has_ended(self, host: QueueHost) -> None:
        """Each change is told, and then it is over."""
        [job] = await submitted(host, new())
        seen: list[tuple[str, str]] = []
        news = asyncio.Event()

        async def watch() -> None:
            async for each in host.queue.watch(job.id):
                seen.append((each.state, each.output))
                news.set()

        async def until(wanted: tuple[str, str]) -> None:
            while wanted not in seen:
                news.clear()
                await news.wait()

        watching = tasks.spawn(watch(), name="watch")
        await until(("queued", ""))
        claim = await claimed(host)
        await until(("running", ""))
        await host.queue.append(claim, "a")
        await until(("running", "a"))
        await host.queue.finish(claim, "b", [GOOD])
        await watching
        assert seen[-1] == ("completed", "ab")

    async def test_of_what_there_is_not(self, host: QueueHost) -> None:
        """There is no news; of what is deleted there is none any more."""
        assert [each async for each in host.queue.watch("none")] == []
        [job] = await submitted(host, new())
        watching = host.queue.watch(job.id)
        assert (await anext(aiter(watching))).id == job.id
        await host.queue.delete([job.id])
        assert [each async for each in watching] == []
