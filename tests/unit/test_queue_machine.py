"""Whatever is done to a queue in whichever order, it is as a simple model of it says."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from runnerd.errors import LeaseLost, LimitReached
from runnerd.jobs.job import JobState, NewJob, Prompt, Response
from runnerd.jobs.queue import Claim
from tests.support.job_queue import POLICY, SqliteHost
from tests.support.queue_suite import ANN, BOB

T = TypeVar("T")

PROMPT = Prompt("/v1/chat/completions", b"{}")
OPEN = (JobState.QUEUED, JobState.RUNNING)


class Model:
    """What is known of one job: who holds it, and what its worker has handed in."""

    def __init__(self, principal: str, deadline: float | None) -> None:
        self.principal = principal
        self.deadline = deadline
        self.state = JobState.QUEUED
        self.token: int | None = None
        self.until = 0.0
        self.failed = self.lost = 0
        self.output = ""
        self.results = 0

    def end(self, state: JobState) -> None:
        self.state, self.token = state, None

    def lose(self) -> None:
        """Its worker was lost."""
        self.lost += 1
        self.token = None
        self.state = JobState.FAILED if self.lost >= POLICY.losses else JobState.QUEUED


class QueueMachine(RuleBasedStateMachine):
    """Runs a queue and its model side by side."""

    claims: Bundle[Claim] = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="queue-"))
        self.jobs: dict[str, Model] = {}
        self.number = 0
        self.run(self._open())

    async def _open(self) -> None:
        self.host = SqliteHost(self.folder)
        await self.host.open()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @property
    def now(self) -> float:
        return 1e9 + self.host.now

    def _expire(self) -> None:
        """What the queue does by itself as time passes."""
        for job in self.jobs.values():
            if job.token is not None and job.until <= self.host.now:
                job.lose()
            if job.state in OPEN and job.deadline is not None and job.deadline <= self.now:
                job.end(JobState.EXPIRED)

    @rule(
        who=st.sampled_from([ANN, BOB]),
        model=st.sampled_from("xy"),
        priority=st.integers(-2, 2),
        seconds=st.none() | st.integers(1, 50),
    )
    def submit(self, who: Any, model: str, priority: int, seconds: int | None) -> None:
        self.number += 1
        id = f"job-{self.number}"
        deadline = None if seconds is None else self.now + seconds
        job = NewJob(who, model, (PROMPT,), id, priority=priority, deadline=deadline)
        mine = [each for each in self.jobs.values() if each.principal == who.id]
        try:
            self.run(self.host.queue.submit([job]))
        except LimitReached:
            assert sum(each.state in OPEN for each in mine) >= self.host.MOST_OPEN
        else:
            self.jobs[id] = Model(who.id, deadline)

    @rule(data=st.data())
    def submit_again(self, data: st.DataObject) -> None:
        if self.jobs:
            id = data.draw(st.sampled_from(sorted(self.jobs)))
            who = ANN if self.jobs[id].principal == ANN.id else BOB
            [job] = self.run(self.host.queue.submit([NewJob(who, "z", (PROMPT,), id)]))
            assert job.state is self.jobs[id].state

    @rule(
        target=claims,
        lease=st.integers(1, 40),
        models=st.none() | st.sampled_from([["x"], ["x", "y"], ["z"]]),
    )
    def claim(self, lease: int, models: list[str] | None) -> Any:
        self._expire_by_deadline()
        found = self.run(self.host.queue.claim("w", lease=lease, models=models))
        for claim in found:
            job = self.jobs[claim.job.id]
            assert job.state is JobState.QUEUED
            job.state, job.token = JobState.RUNNING, claim.token
            job.until, job.output = self.host.now + lease, ""
        return found[0] if found else None

    def _expire_by_deadline(self) -> None:
        for job in self.jobs.values():
            if job.state in OPEN and job.deadline is not None and job.deadline <= self.now:
                job.end(JobState.EXPIRED)

    def _counts(self, claim: Claim) -> bool:
        job = self.jobs.get(claim.job.id)
        return job is not None and job.token == claim.token

    def _hand_in(self, claim: Claim | None, work: Coroutine[Any, Any, object]) -> bool:
        """Whether a worker's change counts, which the model has to say as well."""
        assert claim is not None
        try:
            self.run(work)
        except LeaseLost:
            assert not self._counts(claim)
            return False
        assert self._counts(claim)
        return True

    @rule(claim=claims)
    def append(self, claim: Claim | None) -> None:
        if claim is not None and self._hand_in(claim, self.host.queue.append(claim, "a")):
            self.jobs[claim.job.id].output += "a"

    @rule(claim=claims, lease=st.integers(1, 40))
    def extend(self, claim: Claim | None, lease: int) -> None:
        if claim is not None and self._hand_in(claim, self.host.queue.extend(claim, lease)):
            self.jobs[claim.job.id].until = self.host.now + lease

    @rule(claim=claims)
    def finish(self, claim: Claim | None) -> None:
        response = [Response(200, b"{}")]
        if claim is not None and self._hand_in(
            claim, self.host.queue.finish(claim, "end", response)
        ):
            job = self.jobs[claim.job.id]
            job.end(JobState.COMPLETED)
            job.output += "end"
            job.results += 1
            assert job.results == 1

    @rule(claim=consumes(claims), retry=st.booleans())
    def fail(self, claim: Claim | None, retry: bool) -> None:
        if claim is not None and self._hand_in(
            claim, self.host.queue.fail(claim, "no luck", retry=retry)
        ):
            job = self.jobs[claim.job.id]
            job.failed += 1
            again = retry and job.failed < POLICY.failures
            job.end(JobState.QUEUED if again else JobState.FAILED)

    @rule(claim=consumes(claims))
    def release(self, claim: Claim | None) -> None:
        if claim is not None and self._hand_in(claim, self.host.queue.release(claim)):
            self.jobs[claim.job.id].end(JobState.QUEUED)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if self.jobs:
            id = data.draw(st.sampled_from(sorted(self.jobs)))
            self.run(self.host.queue.cancel(id))
            if self.jobs[id].state in OPEN:
                self.jobs[id].end(JobState.CANCELLED)

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        if self.jobs:
            id = data.draw(st.sampled_from(sorted(self.jobs)))
            assert self.run(self.host.queue.delete([id])) == 1
            del self.jobs[id]

    @rule(seconds=st.integers(1, 30))
    def pass_time(self, seconds: int) -> None:
        self.run(self.host.pass_time(seconds))
        self._expire()

    @rule()
    def restart(self) -> None:
        self.run(self.host.restart())
        for job in self.jobs.values():
            if job.token is not None:
                job.lose()
        # A claim is when the queue looks at what ran; of no model's jobs it takes none.
        assert self.run(self.host.queue.claim("w", models=[])) == []
        self._expire_by_deadline()

    @invariant()
    def as_the_model_says(self) -> None:
        found = {job.id: job for job in self.run(self.host.queue.get(sorted(self.jobs)))}
        assert set(found) == set(self.jobs)
        for id, model in self.jobs.items():
            assert found[id].state is model.state, id
            if model.state in (JobState.RUNNING, JobState.COMPLETED):
                assert found[id].output == model.output
            assert len(found[id].responses) == model.results
        counted = sum(each.number for each in self.run(self.host.queue.counts()))
        assert counted == len(self.jobs)

    def teardown(self) -> None:
        self.run(self.host.close())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.folder)


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
