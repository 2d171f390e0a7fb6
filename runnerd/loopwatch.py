"""Says what held the event loop: everybody waits while one callback computes, or waits for a disk.

A thread looks at the loop's thread a few times per limit.  While the loop waits for something to
happen it stands in the frame that runs it, and nothing else is done.  In any other frame it works;
then it is asked to say that it goes on, and when it has not within the limit its stack is logged,
and afterwards for how long it was held.  One place is told once a minute.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from types import FrameType

log = logging.getLogger(__name__)

_LIMIT = 0.1  # seconds
_LOOKS = 4  # per limit
_SILENCE = 60.0  # seconds for which a place is not told again
_PLACES = 256
_DEPTH = 16  # frames that are shown


class LoopWatch:
    """Watches the loop of the thread that calls `start`, until `stop`."""

    def __init__(self, limit: float = _LIMIT) -> None:
        self._limit = limit
        self._stopped = threading.Event()
        self._alive = threading.Event()
        self._told: dict[str, float] = {}
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Watch from now on; called on the loop, by a coroutine."""
        self._loop = asyncio.get_running_loop()
        self._watched = threading.get_ident()
        self._thread = threading.Thread(target=self._watch, name="loopwatch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Watch no more.  Idempotent."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        pause = self._limit / _LOOKS
        while not self._stopped.wait(pause):
            frame = sys._current_frames().get(self._watched)
            if frame is None or _is_idle(frame):
                continue
            del frame  # it holds on to all that it refers to
            since = time.monotonic()
            self._alive.clear()
            try:
                self._loop.call_soon_threadsafe(self._alive.set)
            except RuntimeError:  # it has ended
                return
            if not self._alive.wait(self._limit - pause):
                self._held(since - pause)

    def _held(self, since: float) -> None:
        """Tell what holds the loop now, and when it goes on for how long it did."""
        frame = sys._current_frames().get(self._watched)
        stack = traceback.extract_stack(frame, None) if frame is not None else None
        del frame
        if stack is None or self._alive.is_set():
            return
        place = f"{stack[-1].filename}:{stack[-1].lineno}" if stack else ""
        if not self._is_news(place):
            return
        shown = "".join(traceback.format_list(stack[-_DEPTH:]))
        log.warning("the event loop is held for more than %g s by:\n%s", self._limit, shown)
        while not self._alive.wait(self._limit) and not self._stopped.is_set():
            pass
        log.warning("the event loop goes on after it was held for %.2f s", time.monotonic() - since)

    def _is_news(self, place: str) -> bool:
        now = time.monotonic()
        if now - self._told.get(place, -_SILENCE) < _SILENCE:
            return False
        if len(self._told) >= _PLACES:
            self._told.clear()
        self._told[place] = now
        return True


def _is_idle(frame: FrameType) -> bool:
    """Say whether a loop's thread stands in what runs the loop: then no callback does anything."""
    code = frame.f_code
    if code.co_name in ("select", "_run_once", "run_forever", "run_until_complete"):
        return "selectors" in code.co_filename or "asyncio" in code.co_filename
    return code.co_filename.endswith("asyncio/runners.py")  # uvloop has no frames of its own
