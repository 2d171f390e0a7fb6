"""Connections to RabbitMQ where there is none."""

from __future__ import annotations

import asyncio
import socket

import pytest

from runnerd import tasks
from runnerd.jobs.fleet import broker
from runnerd.jobs.fleet.broker_calls import BrokerLost
from tests.support.amqp_server import running_amqp_server
from tests.support.ports import reserved_port


async def test_nobody_is_there() -> None:
    """It is told where, without login and password."""
    with reserved_port() as port, pytest.raises(BrokerLost) as told:
        await broker.connect(f"amqp://ann:secret@127.0.0.1:{port}/", "test")
    assert f"127.0.0.1:{port}" in str(told.value)
    assert "secret" not in str(told.value)


async def test_somebody_who_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts as lost."""
    monkeypatch.setattr(broker, "CALL_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(BrokerLost):
        await broker.connect(f"amqp://127.0.0.1:{server.getsockname()[1]}/", "test")


async def test_it_is_cancelled_at_every_step() -> None:
    """Whoever is cancelled while connecting leaves no connection, however far that had come."""
    async with running_amqp_server() as server:
        steps, connected = 0, False
        while not connected:
            before = asyncio.all_tasks()
            connecting = tasks.spawn(broker.connect(server.url, "test"), name="connect", quiet=True)
            for _ in range(steps):
                await asyncio.sleep(0)
            connected = connecting.done()
            await tasks.cancel_and_wait(connecting)
            if not connecting.cancelled():
                await connecting.result().close()
            left = [each for each in asyncio.all_tasks() - before if "AmqpServer" not in repr(each)]
            assert left == [], f"cancelled after {steps} steps"
            steps += 1
        assert server.opened > 1


async def test_a_channel_of_a_connection_that_was_closed() -> None:
    """It is lost, which is no fault of the program."""
    async with running_amqp_server() as server:
        connection = await broker.connect(server.url, "test")
        await connection.close()
        with pytest.raises(BrokerLost):
            await connection.channel()
