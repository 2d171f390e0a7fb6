"""How long to wait before something that failed is tried again: longer each time, up to a limit."""

from __future__ import annotations

from dataclasses import dataclass

_MOST_DOUBLINGS = 64  # a float holds more, and no limit is that far away


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses in seconds: `first` after one failure, twice as long after each further one in a row,
    `longest` at most.  Jitter is the caller's: the scheduler knows no chance.
    """

    first: float
    longest: float

    def pause(self, failures: int) -> float:
        """The pause after so many failures in a row; none where nothing has failed."""
        if failures < 1:
            return 0.0
        return min(self.longest, self.first * 2.0 ** min(failures - 1, _MOST_DOUBLINGS))
