"""How late the event loop is: everybody waits that long, whatever they ask for."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator

_EVERY = 0.5  # seconds
_KEPT = 120  # looks: a minute


class LoopLag:
    """Looks twice a second by how much a timer is late."""

    def __init__(self) -> None:
        self._lags: deque[float] = deque(maxlen=_KEPT)
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    @property
    def latest(self) -> float:
        """Seconds, at the latest look."""
        return self._lags[-1] if self._lags else 0.0

    @property
    def worst(self) -> float:
        """Seconds, at most in the last minute."""
        return max(self._lags, default=0.0)

    @contextlib.contextmanager
    def measured(self) -> Iterator[None]:
        """Look for the length of a block."""
        self._arm()
        try:
            yield
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def _arm(self) -> None:
        loop = asyncio.get_running_loop()
        self._due = loop.time() + _EVERY
        self._timer = loop.call_at(self._due, self._look)

    def _look(self) -> None:
        self._lags.append(max(0.0, asyncio.get_running_loop().time() - self._due))
        self._arm()
