"""Time in which an attempt waits does not count."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from runnerd.jobs.run_time import RunTime


async def never() -> None:
    await asyncio.Event().wait()


async def within(time: RunTime, work: Awaitable[None]) -> None:
    async with time.limited():
        await work


async def test_it_runs_too_long() -> None:
    """Then it is ended."""
    with pytest.raises(TimeoutError):
        await within(RunTime(0.001), never())


async def test_it_waits() -> None:
    """For as long as that takes; what it runs afterwards counts."""
    time, looks, place = RunTime(0.001), 0, asyncio.Event()

    def waits() -> float:
        nonlocal looks
        looks += 1
        if looks > 2:
            place.set()
        return 0.0 if place.is_set() else 1000.0

    async def work() -> None:
        with time.asking(waits):
            await place.wait()
        await never()

    with pytest.raises(TimeoutError):
        await within(time, work())
    assert looks >= 3


async def test_no_limit() -> None:
    """It takes what it takes."""
    await within(RunTime(None), asyncio.sleep(0))
