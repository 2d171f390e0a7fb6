"""What is asked of RabbitMQ ends when whoever asks is cancelled."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from runnerd import tasks
from runnerd.jobs.fleet.broker import BrokerLost, Guarded


async def forgets() -> None:
    """As `asyncio.wait_for` does where a result comes in the same moment, before Python 3.12."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()


async def test_a_cancellation_that_a_library_forgets() -> None:
    """It is one all the same: a loop that goes on for ever ends."""

    async def ask_for_ever() -> None:
        while True:
            with Guarded():
                await forgets()

    task = tasks.spawn(ask_for_ever(), name="asks")
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await tasks.cancel_and_wait(task)
    assert task.cancelled()


async def test_a_lost_connection_is_no_cancellation() -> None:
    """Aiormq cancels whoever waits for a frame."""
    with pytest.raises(BrokerLost), Guarded():
        raise asyncio.CancelledError
