"""RabbitMQ is killed right after something was kept in a queue that it had not known before."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import aio_pika
import pytest
from redis.asyncio import Redis as Client

from runnerd.access.principals import user_principal
from runnerd.errors import DatabaseFailure
from runnerd.jobs.fleet.protollm.task_message import QUEUE_ARGUMENTS
from runnerd.jobs.fleet.publisher import Publisher
from runnerd.jobs.fleet.queue import FleetQueue
from runnerd.jobs.job import Job, NewJob, Prompt
from runnerd.jobs.sqlite.state import QueueRules
from tests.support.brokers import RabbitMQ, Redis, running_rabbitmq, running_redis
from tests.support.waiting import SECONDS

pytestmark = pytest.mark.long

_JOB = NewJob(user_principal("ann", "key"), "m", (Prompt("/v1/chat/completions", b"{}"),))


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[RabbitMQ, Redis]]:
    with (
        running_redis(tmp_path / "redis") as redis,
        running_rabbitmq(tmp_path / "rabbit") as rabbit,
    ):
        yield rabbit, redis


async def _restarted(rabbitmq: RabbitMQ) -> None:
    """kill -9, and start it again."""
    rabbitmq.kill()
    await asyncio.to_thread(rabbitmq.start)


@pytest.mark.timeout(300)
async def test_a_job(servers: tuple[RabbitMQ, Redis]) -> None:
    """The first one of a site: what was acknowledged is in the journal, also without Redis."""
    rabbitmq, redis = servers
    queue = FleetQueue(rabbitmq.url, redis.url, QueueRules())
    [job] = await queue.submit([_JOB])
    await _restarted(rabbitmq)
    client = Client.from_url(redis.url)
    await client.flushall()
    await client.aclose()
    try:
        assert [found.id for found in await _there(queue, job.id)] == [job.id]
    finally:
        await queue.close()


async def _there(queue: FleetQueue, id: str) -> list[Job]:
    """Jobs of an id, once RabbitMQ has its streams again."""
    async with asyncio.timeout(60 * SECONDS):
        while True:
            with contextlib.suppress(DatabaseFailure):
                return await queue.get([id])
            await asyncio.sleep(0.1)


@pytest.mark.timeout(300)
async def test_a_prompt(servers: tuple[RabbitMQ, Redis]) -> None:
    """The first task in a queue of ProtoLLM's."""
    rabbitmq, _ = servers
    publisher = Publisher(rabbitmq.url, "test")
    await publisher.publish("first", b"task", arguments=QUEUE_ARGUMENTS)
    await _restarted(rabbitmq)
    await publisher.close()
    connection = await aio_pika.connect(rabbitmq.url)
    async with connection:
        queue = await (await connection.channel()).declare_queue("first", passive=True)
        assert queue.declaration_result.message_count == 1
