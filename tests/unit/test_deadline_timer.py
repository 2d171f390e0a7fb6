"""runnerd.supervisor.deadline_timer: it wakes at the next deadline, and is moved seldom."""

from __future__ import annotations

import asyncio

from runnerd.supervisor.deadline_timer import SLACK, DeadlineTimer
from tests.support.waiting import until


async def test_it_wakes_when_the_earliest_deadline_has_come() -> None:
    """And not again by itself."""
    loop, woken = asyncio.get_running_loop(), []
    deadline: float | None = loop.time() + 0.01
    timer = DeadlineTimer(lambda: deadline, lambda: woken.append(1))
    timer.arm()
    await until(lambda: woken)
    assert not timer.wakes_by(None)
    deadline = None
    timer.arm()
    assert not timer.wakes_by(None)


async def test_it_is_moved_only_where_it_would_be_late() -> None:
    """A deadline that goes away costs nothing: it wakes early, and looks again."""
    now = asyncio.get_running_loop().time() + 1000
    deadline = now
    timer = DeadlineTimer(lambda: deadline, lambda: None)
    timer.arm()
    first = timer._handle
    for deadline in (now + 100, now - SLACK / 2):
        timer.arm()
        assert timer._handle is first
        assert timer.wakes_by(deadline)
    deadline = now - 100
    assert not timer.wakes_by(deadline)
    timer.arm()
    assert timer._handle is not first
    assert timer.wakes_by(deadline)
    timer.cancel()
    timer.cancel()
    assert not timer.wakes_by(None)
