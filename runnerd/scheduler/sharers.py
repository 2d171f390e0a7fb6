"""Who uses a pool: so that no client holds all the places that others want.

An engine serves as many requests as it has slots; what it gets beyond these (`overcommit`) waits
inside it, where nobody can be served first any more.  As long as one client has a pool for itself
it may have all of that.  From when another one has asked until five minutes after it was last seen,

- what an engine gets beyond its slots is for clients that hold none of its places, so that whoever
  comes is behind one request of each of the others and not behind several of one, and
- of four slots and more nobody holds the last one: it is for who holds none, and waits for no end.

Neither counts for what is short while a pool's engines answer within milliseconds (`pace`): what
they have ahead is worth no wait, and a place that is left free would cost more than it gives.  For
what may take long both always do: else a few quick requests would earn a client all places for
long ones.
"""

from __future__ import annotations

import math

LATELY = 300.0  # seconds: somebody who talks with a model reads for a while before asking again
_LEAST = 4  # slots of a pool of which one may be left free: a quarter of them at most


class Sharers:
    """The clients of one pool: how many places each holds (`held`), and when others were seen."""

    __slots__ = ("_latest", "_latest_at", "_other_at", "held")

    def __init__(self) -> None:
        self.held: dict[str, int] = {}
        # Of two clients it is known when each was seen last, which tells of anybody whether there
        # was another one.
        self._latest = ""
        self._latest_at = self._other_at = -math.inf

    @property
    def alone(self) -> bool:
        """Whether only one client has ever asked."""
        return self._other_at == -math.inf

    def came(self, client: str, now: float) -> None:
        """A client has asked."""
        if client != self._latest:
            self._latest, self._other_at = client, self._latest_at
        self._latest_at = now

    def shared_until(self, client: str) -> float:
        """Until when a client has to leave room for others; infinite while others hold places."""
        if len(self.held) > (client in self.held):
            return math.inf
        return LATELY + (self._other_at if client == self._latest else self._latest_at)


def most(slots: int) -> int:
    """How many of a pool's slots one client may hold while it shares them."""
    return slots - 1 if slots >= _LEAST else slots
