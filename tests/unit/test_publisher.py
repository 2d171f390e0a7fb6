"""A publisher that was closed has no connection, whatever was under way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from runnerd import tasks
from runnerd.errors import DatabaseFailure
from runnerd.jobs.fleet import broker, publisher
from runnerd.jobs.fleet.broker_channel import QueueState
from runnerd.jobs.fleet.publisher import Publisher
from tests.support.amqp_server import running_amqp_server
from tests.support.waiting import LIMIT


async def test_it_is_closed_while_it_connects() -> None:
    """At every step: who publishes is told, and nothing is opened any more."""
    async with running_amqp_server() as server:
        steps = 0
        while not server.opened:
            publisher = Publisher(server.url, "test")
            publishing = tasks.spawn(
                publisher.publish("q", b"", arguments={}), name="publish", quiet=True
            )
            for _ in range(steps):
                await asyncio.sleep(0)
            await publisher.close()
            with pytest.raises(DatabaseFailure, match="closed"):
                await publishing
            async with asyncio.timeout(LIMIT):
                while server.open:
                    await asyncio.sleep(0)
            steps += 1
        with pytest.raises(DatabaseFailure, match="closed"):
            await publisher.publish("q", b"", arguments={})


class _Broker:
    """Is connection and channel at once; its queues have `messages`."""

    is_closed = False

    def __init__(self, messages: int) -> None:
        self._messages = messages
        self.published: list[str] = []

    async def channel(self) -> _Broker:
        return self

    async def declare(self, queue: str, arguments: dict[str, Any]) -> QueueState:
        return QueueState(self._messages, 0)

    async def publish(self, queue: str, body: bytes, priority: int | None) -> None:
        self.published.append(queue)

    async def close(self) -> None: ...


@pytest.mark.parametrize(
    ("kind", "messages", "waits"),
    [("stream", 0, True), ("stream", 1, False), ("classic", 0, True), ("classic", 1, True)],
)
async def test_a_declaration_may_not_be_on_disk_yet(
    kind: str, messages: int, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is published before that, unless there is what shows that it is old."""
    monkeypatch.setattr(publisher, "_SETTLES", 3600.0)
    server = _Broker(messages)

    async def connect(url: str, name: str) -> _Broker:
        return server

    monkeypatch.setattr(broker, "connect", connect)
    under_test = Publisher("amqp://x", "test")
    arguments = {"x-queue-type": kind}
    publishing = tasks.spawn(under_test.publish("q", b"", arguments=arguments), name="publish")
    for _ in range(10):
        await asyncio.sleep(0)
    assert (publishing.done(), server.published) == (not waits, [] if waits else ["q"])
    await tasks.cancel_and_wait(publishing)
    await under_test.close()
