"""The fleet's queue on a real RabbitMQ and a real Redis keeps what every queue promises."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from redis.asyncio import Redis as Client

from runnerd import tasks
from runnerd.backoff import Backoff
from runnerd.errors import LeaseLost
from runnerd.jobs.fleet import journal, publisher
from runnerd.jobs.fleet.queue import FleetQueue
from runnerd.jobs.job import JobState
from runnerd.jobs.queue import Queue
from runnerd.jobs.retries import RetryPolicy
from runnerd.jobs.sqlite.state import QueueRules
from tests.support.brokers import RabbitMQ, Redis, running_rabbitmq, running_redis
from tests.support.queue_suite import *  # noqa: F403
from tests.support.queue_suite import GOOD, claimed, found, new, submitted
from tests.support.waiting import LIMIT

pytestmark = pytest.mark.long

POLICY = RetryPolicy(failures=3, losses=3, backoff=Backoff(1.0, 60.0), jitter=lambda: 1.0)
Servers = tuple[RabbitMQ, Redis]


class FleetHost:
    """A queue on servers that had nothing, and time that is moved by hand."""

    MOST_OPEN = 10
    MOST_RESULTS = 1000
    queue: Queue

    def __init__(self, servers: Servers, stream: str) -> None:
        self.rabbitmq, self.redis = servers
        self.stream = stream
        self.passed = 0.0

    async def open(self) -> None:
        rules = QueueRules(
            lambda: self.MOST_OPEN,
            lambda: 86400.0,
            lambda: POLICY,
            most_results=lambda: self.MOST_RESULTS,
        )
        fleet = FleetQueue(self.rabbitmq.url, self.redis.url, rules, stream=self.stream)
        self.fleet, self.queue = fleet, fleet
        fleet.shift(self.passed)
        await fleet.open()

    async def pass_time(self, seconds: float) -> None:
        self.passed += seconds
        self.fleet.shift(self.passed)
        await self.fleet.look()

    async def restart(self) -> None:
        await self.fleet.close()
        await self.open()

    async def empty_redis(self) -> None:
        """Take everything out of Redis."""
        client = Client.from_url(self.redis.url)
        await client.flushall()
        await client.aclose()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Broker and Redis."""
    root = tmp_path_factory.mktemp("fleet")
    with running_redis(root / "redis") as redis, running_rabbitmq(root / "rabbitmq") as rabbitmq:
        yield rabbitmq, redis


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No broker is killed here: nobody has to wait until a new journal is on its disk."""
    monkeypatch.setattr(publisher, "_SETTLES", 0.0)


@pytest.fixture
async def host(servers: Servers, request: pytest.FixtureRequest) -> AsyncIterator[FleetHost]:
    host = FleetHost(servers, f"{journal.STREAM}.{request.node.name}")
    await host.empty_redis()
    await host.open()
    yield host
    await host.fleet.close()


@pytest.fixture
async def own_host(tmp_path: Path, servers: Servers) -> AsyncIterator[FleetHost]:
    """One whose Redis is its own, to be killed, and has a clock of its own."""
    with running_redis(tmp_path / "redis", clock=tmp_path / "clock") as redis:
        host = FleetHost((servers[0], redis), f"{journal.STREAM}.{uuid4().hex}")
        await host.open()
        yield host
        await host.fleet.close()


async def test_redis_is_emptied(host: FleetHost) -> None:
    """Nothing that was acknowledged is lost: waiting jobs wait, results are there, what was deleted
    is gone, and what ran is run again, whose late result is refused.
    """
    done, gone, cancelled, runs, waits = await submitted(
        host, new(), new(), new(), new(prompts=2), new(priority=-5)
    )
    await host.queue.release(await claimed(host))
    await host.queue.finish(await claimed(host), "text", [GOOD])
    await host.queue.delete([gone.id])
    await host.queue.cancel(cancelled.id)
    late = await claimed(host)
    assert late.job.id == runs.id
    before = await host.queue.get([done.id, cancelled.id, waits.id])
    await host.empty_redis()
    assert await host.queue.get([done.id, cancelled.id, waits.id]) == before
    assert await host.queue.get([gone.id]) == []
    assert (await found(host, runs.id)).state is JobState.QUEUED
    with pytest.raises(LeaseLost):
        await host.queue.finish(late, "late", [GOOD])
    again = await claimed(host)
    assert (again.job.id, again.token > late.token) == (runs.id, True)
    await host.queue.finish(again, "whole", [GOOD, GOOD])
    assert (await found(host, runs.id)).output == "whole"
    assert [job.id for job in await host.queue.submit([new(id=done.id)])] == [done.id]


async def test_redis_loses_its_last_changes(own_host: FleetHost, tmp_path: Path) -> None:
    """It comes back as it was a while ago, as after a power cut or from a replica: all that was
    acknowledged since is there, ended jobs as they ended, and what ran may still be handed in.
    """
    host = own_host
    [runs] = await submitted(host, new())
    claim = await claimed(host)
    host.redis.kill()
    shutil.copytree(host.redis.root, tmp_path / "old")
    host.redis.start()
    [done, waits] = await submitted(host, new(), new())
    ended = await claimed(host)
    assert ended.job.id == done.id
    await host.queue.finish(ended, "text", [GOOD])
    before = await host.queue.get([done.id, waits.id])
    host.redis.kill()
    for left in host.redis.root.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    shutil.copytree(tmp_path / "old", host.redis.root, dirs_exist_ok=True)
    host.redis.start()
    assert await host.queue.get([done.id, waits.id]) == before
    with pytest.raises(LeaseLost):
        await host.queue.finish(ended, "twice", [GOOD])
    await host.queue.finish(claim, "first", [GOOD])
    assert (await found(host, runs.id)).output == "first"
    assert (await claimed(host)).job.id == waits.id


async def test_a_result_is_seen_once_it_is_kept(host: FleetHost) -> None:
    """As long as the broker does not confirm it nobody sees it: it could be another one later."""
    [job] = await submitted(host, new())
    claim = await claimed(host)
    host.rabbitmq.pause()
    try:
        finishing = tasks.spawn(host.queue.finish(claim, "text", [GOOD]), name="finish")
        async with asyncio.timeout(LIMIT):
            while (await found(host, job.id)).output != "text":
                await asyncio.sleep(0.01)
        assert (await found(host, job.id)).state is JobState.RUNNING
        assert not finishing.done()
    finally:
        host.rabbitmq.resume()
    await finishing
    assert (await found(host, job.id)).state is JobState.COMPLETED


@pytest.mark.parametrize("jump", [86400, -86400])
async def test_the_clock_is_set(own_host: FleetHost, jump: int) -> None:
    """Redis' clock jumps by a day, there and back: leases hold and end as they would have, and
    results are kept as long as they would have been.
    """
    host = own_host
    done, runs, waits = await submitted(host, new(), new(), new())
    await host.queue.finish(await claimed(host), "text", [GOOD])
    claim = await claimed(host)
    await host.fleet.look()  # what time it is has to be known
    for offset in (jump, 0):
        host.redis.set_clock(offset)
        await host.fleet.look()
        await host.fleet.look()
        assert (await found(host, done.id)).state is JobState.COMPLETED
        assert (await found(host, runs.id)).state is JobState.RUNNING
        await host.queue.extend(claim, 60.0)
    await host.pass_time(61)
    await host.pass_time(POLICY.backoff.pause(1))
    assert (await found(host, runs.id)).state is JobState.QUEUED
    assert (await found(host, waits.id)).state is JobState.QUEUED
    with pytest.raises(LeaseLost):
        await host.queue.finish(claim, "late", [GOOD])


async def test_a_worker_tries_as_often_as_the_daemon_says(host: FleetHost) -> None:
    """Workers have no settings of their own: a job says how many tries it has, also one that was
    read from the journal.
    """
    [job] = await submitted(host, new())
    await host.empty_redis()
    worker = FleetQueue(host.rabbitmq.url, host.redis.url, QueueRules(), stream=host.stream)
    try:
        for failed in range(POLICY.failures):
            worker.shift(host.passed)
            [claim] = await worker.claim("w")
            await worker.fail(claim, "no", retry=True)
            state = (await found(host, job.id)).state
            last = failed + 1 == POLICY.failures
            assert state is (JobState.FAILED if last else JobState.QUEUED)
            await host.pass_time(POLICY.backoff.longest)
    finally:
        await worker.close()
