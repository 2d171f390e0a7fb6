"""What is asked of RabbitMQ ends when whoever asks is cancelled, and in time."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from runnerd import tasks
from runnerd.jobs.fleet.broker_calls import BrokerLost, ask


async def forgets(result: str = "") -> str:
    """As `asyncio.wait_for` does where a result comes in the same moment, before Python 3.12."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    return result


async def test_a_cancellation_that_a_library_forgets() -> None:
    """It is one all the same: a loop that goes on for ever ends."""

    async def ask_for_ever() -> None:
        while True:
            await ask(forgets())

    task = tasks.spawn(ask_for_ever(), name="asks")
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await tasks.cancel_and_wait(task)
    assert task.cancelled()


async def test_a_lost_connection_is_no_cancellation() -> None:
    """Aiormq cancels whoever waits for a frame."""

    async def lost() -> None:
        raise asyncio.CancelledError

    with pytest.raises(BrokerLost):
        await ask(lost())


async def test_a_broker_that_hangs() -> None:
    """It counts as lost."""
    with pytest.raises(BrokerLost, match="no response"):
        await ask(asyncio.Event().wait(), seconds=0.0)
