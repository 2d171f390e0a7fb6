"""Who waits for news of jobs."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from runnerd import tasks
from runnerd.errors import Overloaded
from runnerd.jobs.changes import MOST_FOLLOWERS, Changes, Followers, WorkSignal


async def test_watchers_of_one_job() -> None:
    """Each hears of its own job, and nothing is kept of those that have left."""
    changes = Changes()
    with changes.of("a") as first, changes.of("a") as second, changes.of("b") as other:
        changes.tell(["a", "c"])
        assert (first.is_set(), second.is_set(), other.is_set()) == (True, True, False)
        changes.tell_all()
        assert other.is_set()
    assert changes._watchers == {}


def test_followers_have_an_end() -> None:
    """Of each principal; who leaves makes room."""
    followers = Followers()
    with contextlib.ExitStack() as stack:
        for _ in range(MOST_FOLLOWERS):
            stack.enter_context(followers.joined("ann"))
        stack.enter_context(followers.joined("ben"))
        with pytest.raises(Overloaded), followers.joined("ann"):
            pass
    with followers.joined("ann"):
        assert followers._by_principal == {"ann": 1}


async def test_every_worker_wakes() -> None:
    """One that wakes takes nothing from another one."""
    signal = WorkSignal()
    for worker in ("a", "b"):
        signal.looking(worker)
    waiting = [tasks.spawn(signal.wait(worker), name=worker) for worker in ("a", "b")]
    await asyncio.sleep(0)
    signal.wake()
    await asyncio.gather(*waiting)
    await signal.wait("a")  # it has not looked since
    signal.looking("a")
    later = tasks.spawn(signal.wait("a"), name="a")
    signal.wake_in(0.0)
    await later
    signal.close()
