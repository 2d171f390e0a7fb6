"""A channel whose library answers as it is told."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import ChannelPreconditionFailed

from runnerd import tasks
from runnerd.jobs.fleet.broker_calls import BrokerLost, WrongQueue
from runnerd.jobs.fleet.broker_channel import Channel


class _Library:
    """Declares nothing: it raises, or waits for ever."""

    is_closed = False

    def __init__(self, error: BaseException | None = None) -> None:
        self._error = error

    async def declare_queue(self, name: str, **_: Any) -> None:
        if self._error is None:
            await asyncio.Event().wait()
        else:
            raise self._error


def _channel(error: BaseException | None = None) -> Channel:
    return Channel(cast("AbstractChannel", _Library(error)))


async def test_another_queue_of_that_name() -> None:
    """It is named."""
    with pytest.raises(WrongQueue, match="the queue q cannot be used"):
        await _channel(ChannelPreconditionFailed("406")).declare("q", {})


async def test_a_declaration_that_was_not_answered() -> None:
    """Its channel is not used any more, whether the connection was lost or its caller left."""
    lost = _channel(ConnectionResetError())
    with pytest.raises(BrokerLost):
        await lost.declare("q", {})
    left = _channel()
    task = tasks.spawn(left.declare("q", {}), name="declare", quiet=True)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await tasks.cancel_and_wait(task)
    assert (lost.is_closed, left.is_closed) == (True, True)
