"""The signals that end a daemon, and the one that has it read its settings."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from runnerd import early
from runnerd.stop_signals import StopSignals
from tests.support.waiting import until

COVERS = ("runnerd.early",)


@pytest.fixture
def held() -> Iterator[None]:
    """Signals are noted, as before a daemon is up; then all is as it was."""
    before = {number: signal.getsignal(number) for number in NUMBERS}
    early.hold()
    yield
    early._noted.clear()
    for number, handler in before.items():
        signal.signal(number, handler)


NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def unlisten() -> None:
    for number in NUMBERS:
        asyncio.get_running_loop().remove_signal_handler(number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_whoever_asks_twice_does_not_want_to_wait(held: None, number: int) -> None:
    """The first lets what is under way end; each further one is told on, whichever it is."""
    signals, hurried = StopSignals(), []
    signals.listen(reload=lambda: None, hurry=lambda: hurried.append(1))
    os.kill(os.getpid(), number)
    await signals.stop.wait()
    assert not signals.hurry.is_set()
    os.kill(os.getpid(), signal.SIGTERM)
    await signals.hurry.wait()
    os.kill(os.getpid(), signal.SIGINT)
    await until(lambda: len(hurried) == 2)
    unlisten()


async def test_a_reload_that_was_asked_for_too_early_comes_late(held: None) -> None:
    """Once, and again for each SIGHUP from then on; it ends nothing."""
    signals, reloads = StopSignals(), []
    os.kill(os.getpid(), signal.SIGHUP)
    os.kill(os.getpid(), signal.SIGHUP)
    signals.listen(reload=lambda: reloads.append(1), hurry=lambda: None)
    assert len(reloads) == 1
    os.kill(os.getpid(), signal.SIGHUP)
    await until(lambda: len(reloads) == 2)
    assert not signals.stop.is_set()
    unlisten()


async def test_an_end_that_was_asked_for_before_is_not_forgotten(held: None) -> None:
    """Whoever builds the daemon takes back what it has made."""
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(early.Stopped):
        StopSignals().listen(reload=lambda: None, hurry=lambda: None)
    unlisten()
