"""How late the event loop is."""

from __future__ import annotations

import asyncio
import time

import pytest

from runnerd.observability import loop_lag
from runnerd.observability.loop_lag import LoopLag


async def test_a_loop_that_was_held_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """By as long as the callback took, and the worst is remembered while it is late no more."""
    monkeypatch.setattr(loop_lag, "_EVERY", 0.001)
    lag = LoopLag()
    assert (lag.latest, lag.worst) == (0.0, 0.0)
    with lag.measured():
        time.sleep(0.05)
        while lag.worst < 0.04:
            await asyncio.sleep(0)
        while lag.latest > 0.04:
            await asyncio.sleep(0)
    assert lag.worst >= 0.04
