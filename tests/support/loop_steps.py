"""How much each step of an event loop computes: in processor time of its own thread.

What other threads and programs do meanwhile is not in it, so a busy machine changes little.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


class LoopSteps:
    """The longest step so far, in seconds of processor time, and what it was."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.what = ""

    def note(self, seconds: float, handle: asyncio.Handle) -> None:
        """A step has ended."""
        if seconds > self.longest:
            self.longest, self.what = seconds, repr(handle)


@contextmanager
def measured_steps() -> Iterator[LoopSteps]:
    """Measure every step of the loops that run in this thread (asyncio's own, in Python)."""
    steps, run = LoopSteps(), asyncio.Handle._run

    def measured(handle: asyncio.Handle, *arguments: Any) -> None:
        began = time.thread_time()
        run(handle, *arguments)
        steps.note(time.thread_time() - began, handle)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio.Handle, "_run", measured)
        patch.setattr(asyncio.TimerHandle, "_run", measured)
        gc.disable()  # it would pass over all that the tests have made
        try:
            yield steps
        finally:
            gc.enable()
