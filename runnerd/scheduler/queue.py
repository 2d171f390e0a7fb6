"""Everyone who waits, in a fair order.

Each waiting ticket gets a *turn* when it comes: one more than its client's last one, or than the
highest that was served if that is more (start-time fair queueing).  So a client that asks for
much at once stands behind itself and not before everybody else, and whoever comes new is served
after at most one more ticket of each of the others.

A priority is a head start of a fixed number of turns for each step, which makes the *rank* by which
tickets are served.  Turns only grow while a ticket waits, so it ages: what comes later loses a turn
of its head start with each round that is served, and no priority starves anyone for ever.

Of those who wait for one pool, who holds no place of it comes before who holds some, so that the
next place that becomes free goes to whoever has none.

What nobody waits for (`BACKGROUND`) comes behind all others, and its turns are counted by
themselves: whoever has jobs is served no later for that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial

from runnerd.scheduler.decisions import RunnerKey
from runnerd.scheduler.line import Line, Waiting

_HEAD_START = 16  # turns per step of priority

BACKGROUND = -(2**16)
"""The priority of what nobody waits for: more turns than are served while anybody may wait."""


class Queue:
    """Owns the waiting tickets.  All operations are constant or logarithmic time.

    `held` says how many places a client holds of what it waits for; `moved` has to be called when
    that becomes none, or is none no more.  `lines` has a line for each key that is waited for, and
    is empty while nobody waits: whoever only wants to know that looks at it.
    """

    def __init__(self, held: Callable[[RunnerKey, str], int] = lambda key, client: 0) -> None:
        self._held = held
        self._tickets: dict[int, Waiting] = {}  # in order of arrival
        self.lines: dict[RunnerKey, Line] = {}
        self._served = 0
        self._last_turn: dict[str, int] = {}
        self._clients: dict[str, int] = {}  # how many of their tickets wait

    def __len__(self) -> int:
        return len(self._tickets)

    def add(
        self,
        ticket: int,
        key: RunnerKey,
        now: float,
        *,
        keep_alive: float | None = None,
        client: str = "",
        affinity: tuple[int, ...] = (),
        priority: int = 0,
        long: bool = False,
    ) -> None:
        """Let a ticket wait."""
        background = priority <= BACKGROUND
        if background:
            client = f"{client} in the background"
        turn = max(self._served, self._last_turn.get(client, 0)) + 1
        self._last_turn[client] = turn
        self._clients[client] = self._clients.get(client, 0) + 1
        rank = turn - _HEAD_START * priority
        waiting = Waiting(
            ticket, key, now, keep_alive, client, affinity, turn, rank, background, long
        )
        self._tickets[ticket] = waiting
        line = self.lines.get(key)
        if line is None:
            line = self.lines[key] = Line(partial(self._held, key))
        line.add(waiting)

    def remove(self, ticket: int) -> Waiting | None:
        """Take a ticket out; None if it does not wait."""
        waiting = self._tickets.pop(ticket, None)
        if waiting is None:
            return None
        line = self.lines[waiting.key]
        line.remove(waiting)
        if not line.waiting:
            del self.lines[waiting.key]
        self._clients[waiting.client] -= 1
        if not self._clients[waiting.client]:
            del self._clients[waiting.client], self._last_turn[waiting.client]
        return waiting

    def serve(self, waiting: Waiting) -> None:
        """Take out a ticket whose turn has come."""
        self._served = max(self._served, waiting.turn)
        self.remove(waiting.ticket)

    def first(self, key: RunnerKey, passed_over: Collection[str] = ()) -> Waiting | None:
        """Return whose turn is next among those who wait for `key`, some clients left out."""
        line = self.lines.get(key)
        return None if line is None else line.first(passed_over)

    def moved(self, key: RunnerKey, client: str) -> None:
        """A client holds a place now of what it may wait for, or none any more."""
        if (line := self.lines.get(key)) is not None:
            line.moved(client)

    def count(self, key: RunnerKey) -> int:
        """Return how many wait for `key`."""
        line = self.lines.get(key)
        return 0 if line is None else len(line.waiting)

    def before(self, key: RunnerKey, *, background: bool) -> int:
        """Return how many of those who wait for `key` come before somebody new."""
        line = self.lines.get(key)
        if line is None:
            return 0
        return len(line.waiting) - (0 if background else line.background)

    def only_in_background(self, key: RunnerKey) -> bool:
        """Return whether all who wait for `key`, if any do, are in the background."""
        return not self.before(key, background=False)

    @property
    def in_background(self) -> int:
        """How many wait in the background."""
        return sum(line.background for line in self.lines.values())

    def tickets(self, key: RunnerKey) -> list[int]:
        """Return who waits for `key`, in order of arrival."""
        line = self.lines.get(key)
        return [] if line is None else list(line.waiting)

    def keys(self) -> list[RunnerKey]:
        """The keys that requests wait for, in the order in which they are served next."""

        def rank(key: RunnerKey) -> tuple[int, int]:
            first = self.first(key)
            assert first is not None
            return first.rank, first.ticket

        return sorted(self.lines, key=rank)

    def all(self) -> Iterator[Waiting]:
        """Yield everyone, in order of arrival."""
        yield from list(self._tickets.values())

    def oldest(self) -> Waiting | None:
        """Return who has waited longest."""
        return next(iter(self._tickets.values()), None)
