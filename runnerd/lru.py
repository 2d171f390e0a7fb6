"""A dictionary of so many entries: what was used longest ago makes room.

Where a function's results are remembered, `functools.lru_cache` does it.  This is for what is noted
rather than computed, and looked at while requests are on their way: noting an entry costs half a
microsecond, cachetools' LRUCache takes nine times as long.
"""

from __future__ import annotations

import math
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Lru(dict[K, V]):
    """Entries in the order of their use, the latest last; at most `most` of them.

    Only `note` and `use` count as uses: looking, as with `in` or `get`, changes nothing.
    """

    __slots__ = ("_most",)

    def __init__(self, most: float = math.inf) -> None:
        super().__init__()
        self._most = most

    def note(self, key: K, value: V) -> None:
        """Make an entry the latest; the oldest one goes where there are too many."""
        self.pop(key, None)
        self[key] = value
        if len(self) > self._most:
            del self[self.oldest()]

    def use(self, key: K) -> V:
        """The value of an entry, which is the latest now.  Raises KeyError."""
        value = self[key] = self.pop(key)
        return value

    def oldest(self) -> K:
        """The key that was used longest ago.  Raises StopIteration where there is none."""
        return next(iter(self))
