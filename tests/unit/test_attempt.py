"""One attempt at a job, and the worker that makes it, against a queue and a scripted engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from runnerd import tasks
from runnerd.errors import (
    BackendFailure,
    ClientError,
    Draining,
    LimitReached,
    NotSupported,
    RunnerdError,
    Unauthorized,
)
from runnerd.jobs.job import Job, JobState, NewJob, Prompt
from runnerd.jobs.queue import Count, Selection
from runnerd.jobs.worker import Gate, Worker
from runnerd.relay.streamed_response import StreamedResponse
from tests.support.job_queue import Script, ScriptedEngine, SqliteHost
from tests.support.queue_suite import ANN, BOB

PATH = "/v1/chat/completions"


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[SqliteHost]:
    host = SqliteHost(tmp_path)
    await host.open()
    yield host
    await host.close()


class Working:
    """A worker over a scripted engine."""

    def __init__(self, host: SqliteHost, script: Script, gate: Gate | None = None) -> None:
        self.host = host
        self.engine = ScriptedEngine(script)
        self.worker = Worker(host.queue, self.engine, at_once=lambda: 4, gate=gate)

    async def __aenter__(self) -> Working:
        self.worker.open()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.worker.close()

    async def submit(self, *texts: str, streams: bool = False, runtime: float | None = None) -> str:
        prompts = tuple(Prompt(PATH, json.dumps({"text": text}).encode()) for text in texts)
        job = NewJob(ANN, "m", prompts, streams=streams, runtime=runtime)
        return (await self.host.queue.submit([job]))[0].id

    async def until(self, id: str, *states: JobState) -> Job:
        async for job in self.host.queue.watch(id):
            if job.state in states or job.state.ended:
                return job
        raise AssertionError("the job is gone")

    async def ended(self, id: str) -> Job:
        return await self.until(id)


def whole(sink: StreamedResponse, text: str) -> None:
    document = {"choices": [{"message": {"content": text}}]}
    sink.whole(200, b"application/json", json.dumps(document).encode(), ())


CHUNK = {"object": "chat.completion.chunk", "choices": [{"delta": {"content": "text "}}]}
TEXT = b"data: " + json.dumps(CHUNK).encode() + b"\n\n"


def begin(sink: StreamedResponse) -> None:
    """A stream begins."""
    sink.head(200, b"text/event-stream", None, chunked=True, framed=False, streams=True,
              warnings=())  # fmt: skip


def echo(body: bytes, sink: StreamedResponse) -> None:
    whole(sink, str(json.loads(body)["text"]))


async def test_several_prompts(host: SqliteHost) -> None:
    """One response each, in order; the output is all of their text."""
    async with Working(host, echo) as working:
        job = await working.ended(await working.submit("a", "b", "c"))
    assert (job.state, job.output) == (JobState.COMPLETED, "a\nb\nc")
    assert len(job.responses) == 3


class OneAtATime:
    """There are people, and one job is let through beside them."""

    def __init__(self) -> None:
        self._free = asyncio.Event()

    async def room(self, running: Callable[[], int]) -> int:
        while running():
            self._free.clear()
            await self._free.wait()
        return 1

    def look(self) -> None:
        self._free.set()

    def people_first(self) -> bool:
        return True


async def test_many_prompts_beside_people(host: SqliteHost) -> None:
    """A job of many prompts does not keep somebody else's waiting until its end."""
    many = NewJob(ANN, "m", tuple(Prompt(PATH, b'{"text": "a"}') for _ in range(9)))
    one = NewJob(BOB, "m", (Prompt(PATH, b'{"text": "b"}'),))
    first, second = await host.queue.submit([many, one])
    async with Working(host, echo, OneAtATime()) as working:
        assert (await working.ended(second.id)).state is JobState.COMPLETED
        job = await working.ended(first.id)
        asked = working.engine.asked
    assert (job.state, len(job.responses), job.attempts) == (JobState.COMPLETED, 9, ())
    assert asked.index(b'{"text": "b"}') < 4
    assert len(asked) == 10, "no prompt is asked again"


@pytest.mark.parametrize("error", [ClientError("no"), NotSupported("no")])
async def test_refused(host: SqliteHost, error: RunnerdError) -> None:
    """A prompt that cannot succeed is not tried again; others of its job are not concerned."""

    def script(body: bytes, sink: StreamedResponse) -> None:
        if b"wrong" in body:
            sink.error(error, intact=True, warnings=())
        else:
            echo(body, sink)

    async with Working(host, script) as working:
        some = await working.ended(await working.submit("wrong", "b"))
        none = await working.ended(await working.submit("wrong", "wrong"))
    assert some.state is JobState.COMPLETED
    assert [response.status for response in some.responses] == [error.status, 200]
    assert (none.state, none.reason, len(none.attempts)) == (JobState.FAILED, "no", 1)
    assert [response.status for response in none.responses] == [error.status, error.status]


async def test_an_engine_that_fails(host: SqliteHost) -> None:
    """It is asked again later, and only for what it did not answer."""
    failures = [BackendFailure("crashed")]

    def script(body: bytes, sink: StreamedResponse) -> None:
        if b"third" in body and failures:
            sink.error(failures.pop(), intact=True, warnings=())
        else:
            echo(body, sink)

    async with Working(host, script) as working:
        id = await working.submit("first", "second", "third")
        waits = await working.until(id, JobState.QUEUED)
        while not waits.attempts:
            [waits] = await host.queue.get([id])
            await asyncio.sleep(0)
        assert waits.state is JobState.QUEUED
        await host.pass_time(10)
        host.queue._state.work.wake()
        job = await working.ended(id)
    assert (job.state, job.output) == (JobState.COMPLETED, "first\nsecond\nthird")
    assert [attempt.reason for attempt in job.attempts] == ["crashed"]
    assert sum(b"first" in body for body in working.engine.asked) == 1


@pytest.mark.parametrize(
    "error", [Draining("goes"), LimitReached("too many", limit="x", retry_after=3.0)]
)
async def test_no_place(host: SqliteHost, error: RunnerdError) -> None:
    """A job that was not even begun is given back, with a clean record."""
    errors = [error]

    def script(body: bytes, sink: StreamedResponse) -> None:
        if errors:
            sink.error(errors.pop(), intact=True, warnings=())
        else:
            echo(body, sink)

    async with Working(host, script) as working:
        id = await working.submit("a")
        while errors or (await host.queue.get([id]))[0].state is JobState.RUNNING:
            await asyncio.sleep(0)
        await host.pass_time(10)
        host.queue._state.work.wake()
        job = await working.ended(id)
    assert (job.state, job.attempts) == (JobState.COMPLETED, ())


async def test_output_grows(host: SqliteHost) -> None:
    """What came is in the queue while the engine is still at it."""
    go_on = asyncio.Event()

    async def script(body: bytes, sink: StreamedResponse) -> None:
        begin(sink)
        sink.piece(TEXT)
        await go_on.wait()
        sink.piece(TEXT)
        sink.end()

    async with Working(host, script) as working:
        id = await working.submit("a", streams=True)
        outputs = []
        async for job in host.queue.watch(id):
            outputs.append(job.output)
            if job.output:
                go_on.set()
    assert outputs[-1] == "text text "
    assert "text " in outputs


async def hang(body: bytes, sink: StreamedResponse) -> None:
    await asyncio.Event().wait()


def refuse(sink: StreamedResponse) -> None:
    sink.error(Unauthorized("the key counts no more"), intact=True, warnings=())


async def test_no_key_at_all(host: SqliteHost) -> None:
    """Then the job has failed."""
    async with Working(host, lambda body, sink: refuse(sink)) as working:
        job = await working.ended(await working.submit("a"))
    assert (job.state, [each.status for each in job.responses]) == (JobState.FAILED, [401])


async def test_who_is_waited_for(host: SqliteHost) -> None:
    """A job that somebody waits for at a connection is not asked in the background."""
    async with Working(host, echo) as working:
        for waited_for in (False, True):
            new = NewJob(ANN, "m", (Prompt(PATH, b'{"text": "a"}'),), waited_for=waited_for)
            [job] = await host.queue.submit([new])
            await working.ended(job.id)
    assert working.engine.background == [True, False]


async def test_cancelled(host: SqliteHost) -> None:
    """The engine is left at once."""
    async with Working(host, hang) as working:
        id = await working.submit("a")
        await working.until(id, JobState.RUNNING)
        while not working.engine.asked:
            await asyncio.sleep(0)
        await host.queue.cancel(id)
        while not working.engine.left:
            await asyncio.sleep(0)
        assert (await working.ended(id)).state is JobState.CANCELLED
        while working.worker.running:
            await asyncio.sleep(0)


async def test_its_runtime(host: SqliteHost) -> None:
    """A job that runs for too long has failed."""
    async with Working(host, hang) as working:
        job = await working.ended(await working.submit("a", runtime=0.01))
    assert (job.state, working.engine.left) == (JobState.FAILED, 1)
    assert "longer than" in job.reason


async def test_the_worker_ends(host: SqliteHost) -> None:
    """What it had is given back, with a clean record."""
    async with Working(host, hang) as working:
        id = await working.submit("a")
        await working.until(id, JobState.RUNNING)
        await working.worker.drain(0.01)
        await working.worker.close()
        [job] = await host.queue.get([id])
    assert (job.state, job.attempts) == (JobState.QUEUED, ())


async def test_waiting_is_no_runtime(host: SqliteHost) -> None:
    """A job that waits for a place waits as long as that takes."""
    looks = 0

    async def waits(body: bytes, sink: StreamedResponse) -> None:
        def waited() -> float:
            nonlocal looks
            looks += 1
            if looks > 2:
                place.set()
            return 1000.0

        sink.control(lambda paused: None, lambda: None, waited)
        await place.wait()
        echo(body, sink)

    place = asyncio.Event()
    async with Working(host, waits) as working:
        job = await working.ended(await working.submit("a", runtime=0.01))
    assert (job.state, job.output) == (JobState.COMPLETED, "a")
    assert looks > 2


async def test_a_job_that_waits_for_a_place_is_queued(host: SqliteHost) -> None:
    """To whoever looks, lists, counts or watches, as long as no prompt of this attempt had one."""
    place, goes_on = asyncio.Event(), asyncio.Event()

    async def waits(body: bytes, sink: StreamedResponse) -> None:
        await place.wait()
        sink.placed()
        await goes_on.wait()
        echo(body, sink)

    async def listed(state: JobState) -> list[str]:
        return [job.id for job in await host.queue.select(Selection(state=state))]

    async with Working(host, waits) as working:
        working.engine.has_places = False
        id = await working.submit("a", "b")
        while not working.engine.asked:
            await asyncio.sleep(0)
        [job] = await host.queue.get([id])
        assert (job.state, job.started, job.seconds(1e12)) == (JobState.QUEUED, None, 0.0)
        assert await host.queue.counts() == [Count(ANN.id, "m", JobState.QUEUED, 1)]
        assert (await listed(JobState.QUEUED), await listed(JobState.RUNNING)) == ([id], [])
        assert await host.queue.claim("other") == []
        running = tasks.spawn(working.until(id, JobState.RUNNING), name="watch")
        await asyncio.sleep(0)
        place.set()
        assert (await running).state is JobState.RUNNING
        assert await host.queue.counts() == [Count(ANN.id, "m", JobState.RUNNING, 1)]
        assert (await listed(JobState.QUEUED), await listed(JobState.RUNNING)) == ([], [id])
        place.clear()
        goes_on.set()
        while len(working.engine.asked) < 2:
            await asyncio.sleep(0)
        assert await listed(JobState.RUNNING) == [id]  # it has begun
        place.set()
        assert (await working.ended(id)).state is JobState.COMPLETED
