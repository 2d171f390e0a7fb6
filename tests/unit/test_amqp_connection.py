"""A connection is gone once it has ended, whatever its peer does."""

from __future__ import annotations

import asyncio

import pytest
from aio_pika.connection import make_url
from aiormq.abc import ChannelFrame
from pamqp.body import ContentBody

from runnerd import tasks
from runnerd.jobs.fleet import amqp_connection
from runnerd.jobs.fleet.amqp_connection import AmqpConnection
from tests.support.amqp_server import AmqpServer, running_amqp_server
from tests.support.waiting import LIMIT


async def _opened(server: AmqpServer) -> AmqpConnection:
    connection = AmqpConnection(make_url(server.url, heartbeat=30))
    await connection.open(LIMIT)
    return connection


async def test_it_ends() -> None:
    """The peer is told, and a second time nothing happens; all tasks are gone."""
    async with running_amqp_server() as server:
        connection = await _opened(server)
        assert not connection.is_closed
        await connection.end()
        await connection.end()
        assert connection.is_closed
        async with asyncio.timeout(LIMIT):
            while server.open:
                await asyncio.sleep(0)


async def test_it_was_never_opened() -> None:
    """Then there is nothing to end."""
    await AmqpConnection(make_url("amqp://127.0.0.1:1/")).end()


async def test_the_peer_leaves() -> None:
    """It is closed by that."""
    async with running_amqp_server(hangs=True) as server:
        connection = await _opened(server)
        server.leave()
        async with asyncio.timeout(LIMIT):
            while not connection.is_closed:
                await asyncio.sleep(0)
        await connection.end()


async def test_the_peer_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket is cut, although there is more to send than it takes."""
    monkeypatch.setattr(amqp_connection, "_CLOSE_SECONDS", 0.05)
    async with running_amqp_server(hangs=True) as server:
        connection = await _opened(server)
        assert connection.transport is not None
        queue = connection.transport.connection.write_queue
        await queue.put(ChannelFrame.marshall(0, [ContentBody(bytes(30_000_000))]))
        await connection.end()
        running = [repr(each) for each in asyncio.all_tasks() if "aiormq" in repr(each)]
        assert running == []


async def test_the_one_who_ends_it_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ended all the same, before the caller goes on."""
    monkeypatch.setattr(amqp_connection, "_CLOSE_SECONDS", 0.05)
    async with running_amqp_server(hangs=True) as server:
        connection = await _opened(server)
        ending = tasks.spawn(connection.end(), name="end", quiet=True)
        await asyncio.sleep(0)
        await tasks.cancel_and_wait(ending)
        assert (ending.cancelled(), connection.is_closed) == (True, True)
