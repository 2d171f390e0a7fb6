"""systemd hears from a daemon that is well, and not from one that has stranded somebody."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from runnerd.sockets.notify import Notifier
from runnerd.watchdog import watchdog
from tests.support.waiting import LIMIT


class _Notifier:
    """Counts beats; `interval` is what systemd asked for."""

    def __init__(self, interval: float | None) -> None:
        self.watchdog_interval = interval
        self.beats = 0

    def watchdog(self) -> None:
        self.beats += 1


async def test_beats_while_nobody_is_stranded(caplog: pytest.LogCaptureFixture) -> None:
    """And says why it does not."""
    notifier, counts = _Notifier(0.001), iter([0, 0, 3])
    looked = asyncio.Event()

    def stranded() -> int:
        if (count := next(counts, None)) is None:
            looked.set()
            return 1
        return count

    async with asyncio.timeout(LIMIT), watchdog(cast(Notifier, notifier), stranded):
        await looked.wait()
    assert notifier.beats == 2
    assert "3 requests wait" in caplog.text


async def test_where_nobody_asks_it_is_silent() -> None:
    """Without a watchdog nothing is looked at."""
    notifier: Any = _Notifier(None)

    def stranded() -> int:
        raise AssertionError("it was looked at")

    async with watchdog(notifier, stranded):
        await asyncio.sleep(0)
    assert notifier.beats == 0
