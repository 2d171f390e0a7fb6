"""How long a build still takes.

Units of a build differ by a factor of a hundred, so counting them misleads: each has a weight, the
seconds that it took on one machine, and what the first ones took on this one gives the scale.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

_STATUS = re.compile(rb"\[(\d+)/(\d+)\] ([^\r\n]*)")
_OBJECT = re.compile(rb"([\w.+-]+)\.o\b|Linking \w+ (?:executable|shared library) \S*?([\w.+-]+)$")
_USUAL = 1.0
_LONG_ENOUGH = 0.04  # of all weight: before that the scale is a guess
_SMOOTHING = 0.5

# Seconds of one core (AMD EPYC at 2.6 GHz, GCC 12) for those that take longest.
WEIGHTS: dict[str, float] = {}


class Estimate:
    """Follows Ninja's status lines and tells what is left."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._began = now()
        self._done_weight = 0.0
        self._rest = b""
        self.done = 0
        self.of = 0

    def feed(self, data: bytes) -> bool:
        """Take what Ninja printed; return whether it has got further."""
        before = self.done
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if (match := _STATUS.match(line)) is not None:
                self.done, self.of = int(match[1]), int(match[2])
                self._done_weight += _weight(match[3])
        self._rest = self._rest[-4096:]
        return self.done != before

    @property
    def remaining(self) -> float | None:
        """Seconds that the build still takes, None as long as nobody can tell."""
        if not self.of or self._done_weight <= 0:
            return None
        left = self.of - self.done
        total = max(_TOTAL, self._done_weight + left * 0.05)
        share = self._done_weight / total
        if share < _LONG_ENOUGH:
            return None
        return (self._now() - self._began) * (1 - share) / share


def _weight(description: bytes) -> float:
    match = _OBJECT.search(description)
    name = "" if match is None else (match[1] or match[2] or b"").decode("ascii", "replace")
    return WEIGHTS.get(name, _USUAL)


_TOTAL = 1.0
