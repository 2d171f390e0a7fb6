"""The fleet's queue on a real RabbitMQ and a real Redis keeps what every queue promises."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis as Client

from runnerd.backoff import Backoff
from runnerd.errors import LeaseLost
from runnerd.jobs.fleet import journal
from runnerd.jobs.fleet.queue import FleetQueue
from runnerd.jobs.job import JobState
from runnerd.jobs.queue import Queue
from runnerd.jobs.retries import RetryPolicy
from runnerd.jobs.sqlite.state import QueueRules
from tests.support.brokers import RabbitMQ, Redis, running_rabbitmq, running_redis
from tests.support.queue_suite import *  # noqa: F403
from tests.support.queue_suite import GOOD, claimed, found, new, submitted

POLICY = RetryPolicy(failures=3, losses=3, backoff=Backoff(1.0, 60.0), jitter=lambda: 1.0)
Servers = tuple[RabbitMQ, Redis]


class FleetHost:
    """A queue on servers that had nothing, and time that is moved by hand."""

    MOST_OPEN = 10
    queue: Queue

    def __init__(self, servers: Servers, stream: str) -> None:
        self.rabbitmq, self.redis = servers
        self.stream = stream
        self.passed = 0.0

    async def open(self) -> None:
        rules = QueueRules(lambda: self.MOST_OPEN, lambda: 86400.0, lambda: POLICY)
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


@pytest.fixture
async def host(servers: Servers, request: pytest.FixtureRequest) -> AsyncIterator[FleetHost]:
    host = FleetHost(servers, f"{journal.STREAM}.{request.node.name}")
    await host.empty_redis()
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
