"""Loops that kill broker, Redis, workers and daemon under load, and count what comes of it.

Every job that was acknowledged has exactly one visible result in the end, and a result that was
seen once never changes.  `make test-slow`; CHAOS_SECONDS says for how long things are killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis as Client

from runnerd import tasks
from runnerd.access.principals import user_principal
from runnerd.errors import DatabaseFailure
from runnerd.jobs.fleet.journaled_redis import JournaledRedis
from runnerd.jobs.fleet.protollm.result_keys import ResultKeys
from runnerd.jobs.fleet.protollm.task_message import QUEUE_ARGUMENTS
from runnerd.jobs.fleet.publisher import Publisher
from runnerd.jobs.fleet.queue import FleetQueue
from runnerd.jobs.fleet.result_store import ResultStore
from runnerd.jobs.job import JobState, NewJob, Prompt
from runnerd.jobs.retries import RetryPolicy
from runnerd.jobs.sqlite.state import QueueRules
from tests.integration.test_worker import ANSWER, QUESTION, Site, running_site, task
from tests.support.site_chaos import CHAOS_SECONDS, Chaos
from tests.support.waiting import SECONDS

pytestmark = [
    *(pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(1800)),
    # aiormq drops the close of a connection that is lost while it is closed.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

_REFUSED_IN = 120 * SECONDS  # a submission that cannot be confirmed
_PATIENCE = 300 * SECONDS  # for what is left when nothing is killed any more
KINDS = (*("worker", "worker", "worker", "redis", "redis_loses_power", "rabbitmq", "daemon"),)
_ANN = user_principal("ann", "key")
_BODY = msgspec.json.encode(
    {
        "model": "demo-a",
        "messages": [{"role": "user", "content": QUESTION}],
        "temperature": 0,
        "max_tokens": 32,
    }
)


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[Site]:
    with running_site(tmp_path / "site", clock=tmp_path / "clock") as found:
        yield found


@contextlib.asynccontextmanager
async def going_on(work: Callable[[], Awaitable[None]], beside: int = 1) -> AsyncIterator[None]:
    """Repeat something as long as the with block lasts, `beside` each other.

    Before that it is done once: RabbitMQ does not find a queue again whose node is killed within
    half a second of its declaration.
    """

    async def repeat() -> None:
        while True:
            await work()
            await asyncio.sleep(0.05)

    await work()
    await asyncio.sleep(2)
    running = [tasks.spawn(repeat(), name="repeat") for _ in range(beside)]
    try:
        yield
    finally:
        for each in running:
            await tasks.cancel_and_wait(each)


def fleet_queue(site: Site) -> FleetQueue:
    """A queue as a daemon has it; so many killed workers are no fault of the jobs."""
    rules = QueueRules(policy=lambda: RetryPolicy(100, 1000))
    return FleetQueue(site.rabbitmq.url, site.redis.url, rules)


async def jobs_survive(
    site: Site, folder: Path, kinds: tuple[str, ...], seconds: float = CHAOS_SECONDS
) -> int:
    """Submit jobs while things are killed, and hold each acknowledged one against its result; how
    many attempts were lost.
    """
    acknowledged: list[str] = []
    refused: list[str] = []
    hung: list[float] = []
    longest = [0.0]
    seen: dict[str, float | None] = {}
    chaos = Chaos(site, folder, "--jobs")
    queue = fleet_queue(site)
    await queue.open()

    async def submit() -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(_REFUSED_IN):
                [job] = await queue.submit(
                    [NewJob(_ANN, "demo-a", (Prompt("/v1/chat/completions", _BODY),))]
                )
            acknowledged.append(job.id)
        except DatabaseFailure as error:
            refused.append(f"{error.status}: {error.message}")
        except TimeoutError:
            hung.append(time.monotonic() - began)
        longest[0] = max(longest[0], time.monotonic() - began)

    async def look() -> None:
        with contextlib.suppress(DatabaseFailure):
            for job in await queue.get(acknowledged[-200:]):
                if job.state is JobState.COMPLETED:
                    seen.setdefault(job.id, job.ended)

    try:
        async with going_on(submit, 4), going_on(look):
            await chaos.run(seconds, *kinds)
        async with asyncio.timeout(_PATIENCE):
            while True:
                jobs = await queue.get(acknowledged)
                if all(job.state.ended for job in jobs):
                    break
                await asyncio.sleep(0.5)
        wrong = [job for job in jobs if job.state is not JobState.COMPLETED]
        changed = [job.id for job in jobs if seen.get(job.id, job.ended) != job.ended]
        results = sum(len(job.responses) == 1 and job.output == ANSWER for job in jobs)
        lost = sum(len(job.attempts) for job in jobs)
        print(
            f"\njobs: {len(acknowledged)} acknowledged, {len(jobs)} there, {results} with exactly"
            f" one right result, {len(changed)} whose result changed after it was seen,"
            f" {lost} attempts lost; {len(refused)} submissions refused, {len(hung)} hung, the"
            f" longest took {longest[0]:.0f} s; {dict(chaos.done)}"
        )
        print("refused with:", *sorted({text[:90] for text in refused}), sep="\n  ")
        assert (hung, [text for text in refused if not text.startswith("503")]) == ([], [])
        assert len(acknowledged) == len(set(acknowledged)) == len(jobs) > 10
        assert (wrong, changed) == ([], [])
        assert results == len(jobs)
        return lost
    finally:
        chaos.close()
        await queue.close()


async def test_jobs_survive_kills(own_site: Site, tmp_path: Path) -> None:
    """kill -9 of workers, broker, Redis and daemon."""
    await jobs_survive(own_site, tmp_path, KINDS)


@pytest.mark.parametrize(
    "kinds",
    [
        ("redis", "worker"),
        ("redis_loses_power", "worker"),
        ("rabbitmq_hangs",),
        ("rabbitmq_stopped",),
        ("rabbitmq_has_no_memory",),
        ("redis_hangs",),
        ("redis_has_no_disk",),
        ("redis_has_no_memory",),
        ("clock",),
    ],
    ids=lambda kinds: kinds[0],
)
async def test_jobs_survive_outages(own_site: Site, tmp_path: Path, kinds: tuple[str, ...]) -> None:
    """A broker or Redis that is killed, hangs, is stopped, has no disk or memory, or whose clock is
    set: submissions are refused in time, and all goes on by itself.
    """
    await jobs_survive(own_site, tmp_path, kinds, CHAOS_SECONDS / 2)


async def test_jobs_survive_a_flush(own_site: Site, tmp_path: Path) -> None:
    """Redis is emptied under load."""
    await jobs_survive(own_site, tmp_path, ("flush", "worker"), CHAOS_SECONDS / 2)


async def test_a_late_result_is_refused(own_site: Site, tmp_path: Path) -> None:
    """A worker hangs for longer than its lease: its jobs are run elsewhere, and once."""
    assert await jobs_survive(own_site, tmp_path, ("cut_off",), 1.0) > 0


async def prompts_survive(
    site: Site, folder: Path, kinds: tuple[str, ...], seconds: float = CHAOS_SECONDS
) -> None:
    """Publish ProtoLLM's tasks while things are killed; each that was confirmed has its result."""
    confirmed: list[str] = []
    chaos = Chaos(site, folder, "--queue", "llm-api-queue=demo-a")
    publisher = Publisher(site.rabbitmq.url, "test")
    records = JournaledRedis(site.rabbitmq.url, site.redis.url)
    store = ResultStore(records, ResultKeys(), kept=86400)
    numbers = iter(range(1_000_000))

    async def publish() -> None:
        message = task(f"chaos-{next(numbers)}")
        with contextlib.suppress(DatabaseFailure):
            await publisher.publish(
                "llm-api-queue", message.encode(), arguments=QUEUE_ARGUMENTS, priority=1
            )
            confirmed.append(message.job_id)

    async def missing() -> list[str]:
        return [id for id in confirmed if (f := await store.outcome(id)) is None or not f.over]

    left = confirmed
    try:
        async with going_on(publish, 4):
            await chaos.run(seconds, *kinds)
        async with asyncio.timeout(_PATIENCE):
            while left:
                await asyncio.sleep(0.5)
                with contextlib.suppress(DatabaseFailure):
                    left = await missing()
        found = [await store.outcome(id) for id in confirmed]
        right = sum(each is not None and each.text == ANSWER for each in found)
        print(f"\nprompts: {len(confirmed)} confirmed, {right} right; {dict(chaos.done)}")
        print(*(each for each in found if each is None or each.text != ANSWER), sep="\n")
        assert right == len(confirmed) > 10
        client = Client.from_url(site.redis.url)
        assert len(await client.keys("llm-api:chaos-*")) >= len(confirmed)
        await client.aclose()
    finally:
        print(f"\n{len(left)} prompts without a result: {left[:5]}")
        chaos.close()
        await publisher.close()
        await store.close()
        await records.close()


async def test_prompts_survive_kills(own_site: Site, tmp_path: Path) -> None:
    """ProtoLLM's tasks: kill -9 of workers, broker, Redis and daemon."""
    await prompts_survive(own_site, tmp_path, KINDS)


@pytest.mark.parametrize(
    "kinds",
    [
        ("redis_loses_power", "worker"),
        ("flush", "worker"),
        ("cut_off",),
        ("rabbitmq_hangs",),
        ("rabbitmq_stopped",),
        ("rabbitmq_has_no_memory",),
        ("redis_hangs",),
        ("redis_has_no_memory",),
    ],
    ids=lambda kinds: kinds[0],
)
async def test_prompts_survive_outages(
    own_site: Site, tmp_path: Path, kinds: tuple[str, ...]
) -> None:
    """The same as for jobs."""
    await prompts_survive(own_site, tmp_path, kinds, CHAOS_SECONDS / 2)
