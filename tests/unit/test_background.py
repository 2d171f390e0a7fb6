"""runnerd.relay.background: steps that take waiting end in one of two ways."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from runnerd.errors import Draining, InternalError, RunnerdError
from runnerd.relay.background import take_steps


async def ended_with(error: Exception | None) -> list[RunnerdError]:
    """What is told of steps that raise this."""
    told: list[RunnerdError] = []

    async def steps() -> None:
        if error is not None:
            raise error

    await take_steps(steps, told.append, "id")
    return told


async def test_whatever_goes_wrong_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """What nobody foresaw as our own mistake, with its details in the log alone."""
    assert await ended_with(None) == []
    draining = Draining("it goes away")
    assert await ended_with(draining) == [draining]
    assert draining.__traceback__ is None
    assert caplog.records == []
    [told] = await ended_with(ValueError("a secret"))
    assert isinstance(told, InternalError)
    assert "secret" not in told.message
    assert "exchange id failed" in caplog.text


async def test_one_that_is_called_off_tells_nothing() -> None:
    """Whoever calls it off knows."""
    told: list[RunnerdError] = []
    task = take_steps(asyncio.Event().wait, told.append, "id")  # type: ignore[arg-type]
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert told == []
