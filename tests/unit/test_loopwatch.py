"""What holds the event loop is named in the log."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from types import FrameType

import pytest
import uvloop

from runnerd import loopwatch
from runnerd.loopwatch import LoopWatch
from tests.support.waiting import LIMIT, until

LOOKS = 40
LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The watch's messages so far."""
    caplog.set_level(logging.WARNING, "runnerd.loopwatch")
    return lambda: [r.getMessage() for r in caplog.records if r.name == "runnerd.loopwatch"]


def hold_the_loop(told: Callable[[], list[str]]) -> None:
    """Compute until somebody says so."""
    deadline = time.monotonic() + LIMIT
    while not of_it(told()) and time.monotonic() < deadline:
        pass


def of_it(told: list[str]) -> list[str]:
    """What was told from the first message on that names it.  On a busy machine others come before:
    whoever is kept from the processor holds the loop, too.
    """
    named = ["in hold_the_loop" in message for message in told]
    return told[named.index(True) :] if any(named) else []


@pytest.mark.parametrize("loop", LOOPS)
def test_what_holds_the_loop_is_named(
    told: Callable[[], list[str]], loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """With its stack while it does, and with the time when it is over."""

    async def run() -> None:
        watch = LoopWatch(0.02)
        watch.start()
        asyncio.get_running_loop().call_soon(hold_the_loop, told)
        await until(lambda: len(of_it(told())) >= 2)
        watch.stop()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(run())
    assert of_it(told())[1].startswith("the event loop goes on after it was held for")


@pytest.mark.parametrize("loop", LOOPS)
def test_a_loop_that_waits_is_not_held(
    told: Callable[[], list[str]],
    loop: Callable[[], asyncio.AbstractEventLoop],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However long it waits for something to happen.  A thread that others keep from a processor
    may be found at work before, so what counts is many looks in a row.
    """
    looks: list[list[str]] = []  # what was told by then
    found: list[list[str]] = []
    really = loopwatch._is_idle

    async def run() -> None:
        running, enough = asyncio.get_running_loop(), asyncio.Event()

        def is_idle(frame: FrameType) -> bool:
            if not (idle := really(frame)):
                looks.clear()
            elif not found:
                looks.append(told())
            if len(looks) == LOOKS and not found:
                found.extend(looks)
                running.call_soon_threadsafe(enough.set)
            return idle

        monkeypatch.setattr(loopwatch, "_is_idle", is_idle)
        watch = LoopWatch(0.02)
        watch.start()
        async with asyncio.timeout(LIMIT):
            await enough.wait()
        watch.stop()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(run())
    assert found == [found[0]] * LOOKS


def test_one_place_is_told_once(told: Callable[[], list[str]]) -> None:
    """Not at each of its calls."""
    watch = LoopWatch()
    assert [watch._is_news("a:1"), watch._is_news("a:1"), watch._is_news("b:1")] == [
        True,
        False,
        True,
    ]
