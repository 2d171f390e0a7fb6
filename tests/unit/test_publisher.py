"""A publisher that was closed has no connection, whatever was under way."""

from __future__ import annotations

import asyncio

import pytest

from runnerd import tasks
from runnerd.errors import DatabaseFailure
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
