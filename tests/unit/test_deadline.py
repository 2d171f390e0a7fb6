"""runnerd.relay.deadline: a deadline that moves with every byte and costs nothing."""

from __future__ import annotations

import asyncio

from runnerd.relay.deadline import Deadline
from tests.support.waiting import until


async def test_it_expires_once() -> None:
    """When the time that was set last has passed."""
    expired: list[int] = []
    deadline = Deadline(lambda: expired.append(1))
    deadline.set(0.001)
    assert deadline.is_set
    await until(lambda: expired)
    assert not deadline.is_set
    assert expired == [1]
    deadline.close()


async def test_moving_it_away_leaves_the_timer_alone() -> None:
    """It looks again when it fires; moved towards now it is set anew."""
    expired: list[int] = []
    deadline = Deadline(lambda: expired.append(1))
    deadline.set(1000)
    timer = deadline._timer
    deadline.set(2000)
    assert deadline._timer is timer
    deadline._fire()
    assert expired == []
    assert deadline._timer is not timer
    deadline.set(0.001)
    await until(lambda: expired)
    deadline.close()


async def test_one_that_was_cleared_or_closed_does_not_expire() -> None:
    """Whatever its timer does."""
    expired: list[int] = []
    deadline = Deadline(lambda: expired.append(1))
    deadline.set(0.001)
    deadline.clear()
    other = Deadline(lambda: expired.append(2))
    other.set(0.001)
    other.close()
    last = asyncio.Event()
    third = Deadline(last.set)
    third.set(0.01)
    await last.wait()
    assert expired == []
    deadline.close()
    third.close()
