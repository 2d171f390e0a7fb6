"""How long a build still takes.

Units of a build differ by a factor of a hundred, so counting them misleads.  Each has a weight, the
seconds that it took on one machine; Ninja says beforehand which ones there will be, and what the
last ones took on this machine gives the scale: its other work comes and goes.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterable

from runnerd.backends.llamacpp.building.weights import USUAL, WEIGHTS

_STATUS = re.compile(rb"\[(\d+)/(\d+)\] ([^\r\n]*)")
_OBJECT = re.compile(rb"([\w.+-]+)\.o\b")
_LINK = 0.3
_LONG_ENOUGH = 0.03  # of all weight: before that the scale is a guess
_LONGEST_LINE = 4096
_WINDOW = 120.0  # seconds back that the pace is taken from


def weight(description: bytes) -> float:
    """Return how long a step takes, in seconds of one core of the machine that was measured."""
    match = _OBJECT.search(description)
    if match is None:
        return _LINK
    return WEIGHTS.get(match[1].decode("ascii", "replace"), USUAL)


def planned(output: bytes) -> float:
    """Return the weight of all the steps that Ninja says it would take (`ninja -n`)."""
    return sum(weight(match[3]) for match in _STATUS.finditer(output))


class Estimate:
    """Follows Ninja's status lines; `total` is the weight of what it is going to do."""

    def __init__(self, total: float, now: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._now = now
        self._weight = 0.0
        self._marks = deque([(now(), 0.0)])
        self._rest = b""
        self.done = 0
        self.of = 0

    def feed(self, data: bytes) -> bool:
        """Take what Ninja printed; return whether it has got further."""
        before = self.done
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-_LONGEST_LINE:]
        self._count(_STATUS.match(line) for line in lines)
        if self.done == before:
            return False
        now = self._now()
        self._marks.append((now, self._weight))
        while len(self._marks) > 2 and self._marks[1][0] < now - _WINDOW:
            self._marks.popleft()
        return True

    def _count(self, matches: Iterable[re.Match[bytes] | None]) -> None:
        for match in matches:
            if match is not None:
                self.done, self.of = int(match[1]), int(match[2])
                self._weight += weight(match[3])

    @property
    def remaining(self) -> float | None:
        """Seconds that the build still takes, None as long as nobody can tell."""
        if self._total <= 0 or self._weight < self._total * _LONG_ENOUGH:
            return None
        since, weight = self._marks[0]
        if (done := self._weight - weight) <= 0:
            return None
        return (self._now() - since) * max(0.0, self._total - self._weight) / done


def left(seconds: float | None) -> str:
    """Return the rest of a time in words, as exact as it is."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f", about {max(5, round(seconds / 5) * 5)} s left"
    return f", about {round(seconds / 60)} min left"
