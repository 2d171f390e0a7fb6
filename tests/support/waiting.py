"""Waiting for a condition instead of sleeping and hoping."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# One unit for every timeout in the tests; slow machines stretch it.
SECONDS = float(os.environ.get("RUNNERD_TEST_SECONDS", "1"))
LIMIT = 60 * SECONDS  # for what takes an engine


def wait_for(condition: Callable[[], T], what: str, *, limit: float = LIMIT) -> T:
    """Return the condition's first true value; fail when `limit` seconds have passed."""
    deadline = time.monotonic() + limit
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {limit:g} s in vain for {what}")
        time.sleep(0.005)
    return value


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition while the event loop goes on."""
    async with asyncio.timeout(LIMIT):
        while not condition():
            await asyncio.sleep(0.005)
