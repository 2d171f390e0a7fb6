"""What holds the event loop is named in the log."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import pytest
import uvloop

from runnerd.loopwatch import LoopWatch
from tests.support.waiting import until

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The watch's messages so far."""
    caplog.set_level(logging.WARNING, "runnerd.loopwatch")
    return lambda: [r.getMessage() for r in caplog.records if r.name == "runnerd.loopwatch"]


def hold_the_loop(told: Callable[[], list[str]]) -> None:
    """Compute until somebody says so."""
    deadline = time.monotonic() + 30
    while not told() and time.monotonic() < deadline:
        pass


@pytest.mark.parametrize("loop", LOOPS)
def test_what_holds_the_loop_is_named(
    told: Callable[[], list[str]], loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """With its stack while it does, and with the time when it is over."""

    async def run() -> None:
        watch = LoopWatch(0.02)
        watch.start()
        asyncio.get_running_loop().call_soon(hold_the_loop, told)
        await until(lambda: len(told()) >= 2)
        watch.stop()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(run())
    assert "in hold_the_loop" in told()[0]
    assert told()[1].startswith("the event loop goes on after")


@pytest.mark.parametrize("loop", LOOPS)
def test_a_loop_that_waits_is_not_held(
    told: Callable[[], list[str]], loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """However long it waits for something to happen."""

    async def run() -> None:
        watch = LoopWatch(0.02)
        watch.start()
        await asyncio.sleep(0.3)
        watch.stop()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(run())
    assert told() == []


def test_one_place_is_told_once(told: Callable[[], list[str]]) -> None:
    """Not at each of its calls."""
    watch = LoopWatch()
    assert [watch._is_news("a:1"), watch._is_news("a:1"), watch._is_news("b:1")] == [
        True,
        False,
        True,
    ]
