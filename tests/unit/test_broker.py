"""Connections to RabbitMQ where there is none."""

from __future__ import annotations

import socket

import pytest

from runnerd.jobs.fleet import broker
from runnerd.jobs.fleet.broker_calls import BrokerLost
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
