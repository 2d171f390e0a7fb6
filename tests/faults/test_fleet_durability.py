"""Loops that kill broker, Redis, workers and daemon under load, and count what comes of it.

Every job that was acknowledged has exactly one visible result in the end, and a result that was
seen once never changes.  `make test-slow`; CHAOS_SECONDS says for how long things are killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import msgspec
import pytest
from redis.asyncio import Redis as Client

from runnerd import tasks
from runnerd.access.principals import user_principal
from runnerd.errors import DatabaseFailure
from runnerd.jobs.fleet.protollm.result_keys import ResultKeys
from runnerd.jobs.fleet.protollm.task_message import QUEUE_ARGUMENTS
from runnerd.jobs.fleet.publisher import Publisher
from runnerd.jobs.fleet.queue import FleetQueue
from runnerd.jobs.fleet.redis_client import GONE
from runnerd.jobs.fleet.result_store import ResultStore
from runnerd.jobs.job import JobState, NewJob, Prompt
from runnerd.jobs.retries import RetryPolicy
from runnerd.jobs.sqlite.state import QueueRules
from tests.integration.test_worker import ANSWER, QUESTION, Site, running_site, task
from tests.support.waiting import SECONDS, wait_for

pytestmark = [
    *(pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(1800)),
    # aiormq drops the close of a connection that is lost while it is closed.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

CHAOS_SECONDS = float(os.environ.get("CHAOS_SECONDS", "60"))
OUTAGE = min(60.0, CHAOS_SECONDS / 4)
"""For how long something hangs, or is stopped, full or wrong."""
_REFUSED_IN = 120 * SECONDS  # a submission that cannot be confirmed
_PATIENCE = 300 * SECONDS  # for what is left when nothing is killed any more
KINDS = ("worker", "worker", "worker", "redis", "redis", "rabbitmq", "daemon")
_ANN = user_principal("ann", "key")
_BODY = msgspec.json.encode(
    {
        "model": "demo-a",
        "messages": [{"role": "user", "content": QUESTION}],
        "temperature": 0,
        "max_tokens": 32,
    }
)


class Chaos:
    """Kills parts of a site, and starts them again."""

    def __init__(self, site: Site, folder: Path, *flags: str, seed: int = 1) -> None:
        self.site = site
        self._folder = folder
        self._flags = flags
        self._random = random.Random(seed)
        self._workers = [self._worker(number) for number in range(2)]
        self.done: Counter[str] = Counter()

    def _worker(self, number: int) -> subprocess.Popen[bytes]:
        return self.site.start_worker(*self._flags, log=self._folder / f"worker-{number}.log")

    async def run(self, seconds: float, *kinds: str) -> None:
        """Do one of some kinds of damage after another, and each at least once: starting a broker
        takes so long that a short loop drew some of them never.
        """
        end = asyncio.get_running_loop().time() + seconds
        deck: list[str] = []
        while asyncio.get_running_loop().time() < end or set(kinds) - set(self.done):
            await asyncio.sleep(self._random.uniform(0.2, 2.0))
            if not deck:
                deck = self._random.sample(kinds, len(kinds))
            kind = deck.pop()
            began = time.monotonic()
            await asyncio.to_thread(getattr(self, kind))
            self.done[kind] += 1
            print(f"{kind}: down for {time.monotonic() - began:.1f} s", flush=True)

    def worker(self) -> None:
        number = self._random.randrange(len(self._workers))
        self._workers[number].kill()
        self._workers[number].wait()
        self._workers[number] = self._worker(number)

    def redis(self) -> None:
        self.site.redis.kill()
        self.site.redis.start()

    def rabbitmq(self) -> None:
        self.site.rabbitmq.kill()
        self.site.rabbitmq.start()

    def rabbitmq_hangs(self) -> None:
        self.site.rabbitmq.pause()
        time.sleep(OUTAGE)
        self.site.rabbitmq.resume()

    def rabbitmq_stopped(self) -> None:
        self.site.rabbitmq.control("stop")
        self.site.rabbitmq.kill()  # what it has left
        time.sleep(OUTAGE)
        self.site.rabbitmq.start()

    def rabbitmq_has_no_memory(self) -> None:
        self.site.rabbitmq.control("set_vm_memory_high_watermark", "absolute", "1")
        time.sleep(OUTAGE)
        self.site.rabbitmq.control("set_vm_memory_high_watermark", "0.9")

    def redis_hangs(self) -> None:
        self.site.redis.pause()
        time.sleep(OUTAGE)
        self.site.redis.resume()

    def redis_has_no_disk(self) -> None:
        """It cannot save, and refuses to write (MISCONF)."""
        client = self.site.results
        in_the_way = self.site.redis.root / "dump.rdb" / "disk"  # its own file's name
        in_the_way.parent.unlink(missing_ok=True)  # saved the last time
        in_the_way.mkdir(parents=True)
        client.config_set("save", "3600 1")
        self._save("err")
        time.sleep(OUTAGE)
        in_the_way.rmdir()
        in_the_way.parent.rmdir()
        self._save("ok")
        client.config_set("save", "")

    def _save(self, status: str) -> None:
        client = self.site.results

        def is_so() -> bool:
            info = client.info("persistence")
            if not info["rdb_bgsave_in_progress"] and info["rdb_last_bgsave_status"] != status:
                with contextlib.suppress(*GONE):
                    client.bgsave()
            return bool(info["rdb_last_bgsave_status"] == status)

        wait_for(is_so, f"Redis' saving to be {status}")

    def redis_has_no_memory(self) -> None:
        self.site.results.config_set("maxmemory", "1")
        time.sleep(OUTAGE)
        self.site.results.config_set("maxmemory", "0")

    def clock(self) -> None:
        """Redis' clock is a day ahead, and after a while right again."""
        self.site.redis.set_clock(86400)
        time.sleep(OUTAGE)
        self.site.redis.set_clock(0)

    def daemon(self) -> None:
        self.site.daemon.kill()
        self.site.daemon.start(ready=False)
        wait_for(self._daemon_answers, "the daemon", limit=120 * SECONDS)

    def _daemon_answers(self) -> bool:
        transport = httpx.HTTPTransport(uds=str(self.site.daemon.socket))
        with httpx.Client(transport=transport, base_url="http://localhost", timeout=5) as client:
            try:
                return client.get("/health").status_code == 200
            except httpx.TransportError:
                return False

    def flush(self) -> None:
        self.site.results.flushall()

    def cut_off(self) -> None:
        """A worker hangs for longer than its lease, and comes back."""
        process = self._random.choice(self._workers)
        process.send_signal(19)
        asyncio.run(asyncio.sleep(70))
        process.send_signal(18)

    def close(self) -> None:
        for process in self._workers:
            process.kill()
            process.wait()


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
) -> None:
    """Submit jobs while things are killed, and hold each acknowledged one against its result."""
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
    await jobs_survive(own_site, tmp_path, ("cut_off",), 1.0)


async def test_prompts_survive_kills(own_site: Site, tmp_path: Path) -> None:
    """ProtoLLM's tasks: kill -9 of workers, broker, Redis and daemon."""
    confirmed: list[str] = []
    chaos = Chaos(own_site, tmp_path, "--queue", "llm-api-queue=demo-a")
    publisher = Publisher(own_site.rabbitmq.url, "test")
    store = ResultStore(own_site.redis.url, ResultKeys(), kept=86400)
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

    try:
        async with going_on(publish, 4):
            await chaos.run(CHAOS_SECONDS, *KINDS)
        left = confirmed
        async with asyncio.timeout(_PATIENCE):
            while left:
                await asyncio.sleep(0.5)
                with contextlib.suppress(*GONE):
                    left = await missing()
        found = [await store.outcome(id) for id in confirmed]
        right = sum(each is not None and each.text == ANSWER for each in found)
        print(f"\nprompts: {len(confirmed)} confirmed, {right} with a result; {dict(chaos.done)}")
        assert right == len(confirmed) > 10
        client = Client.from_url(own_site.redis.url)
        assert len(await client.keys("llm-api:chaos-*")) >= len(confirmed)
        await client.aclose()
    finally:
        chaos.close()
        await publisher.close()
        await store.close()
