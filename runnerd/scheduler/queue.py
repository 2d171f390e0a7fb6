"""Everyone who waits, in a fair order.

Each waiting ticket gets a *turn* when it comes: one more than its client's last one, or than the
highest that was served if that is more (start-time fair queueing).  So a client that asks for
much at once stands behind itself and not before everybody else, and whoever comes new is served
after at most one more ticket of each of the others.

A priority is a head start of a fixed number of turns for each step, which makes the *rank* by which
tickets are served.  Turns only grow while a ticket waits, so it ages: what comes later loses a turn
of its head start with each round that is served, and no priority starves anyone for ever.

What nobody waits for (`BACKGROUND`) comes behind all others, and its turns are counted by
themselves: whoever has jobs is served no later for that.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import NamedTuple

from runnerd.scheduler.decisions import RunnerKey

_HEAD_START = 16  # turns per step of priority

BACKGROUND = -(2**16)
"""The priority of what nobody waits for: more turns than are served while anybody may wait."""


class Waiting(NamedTuple):  # a tuple: one is made for each request that waits
    """One waiting ticket.  `since` is when it came, `keep_alive` what it asks for."""

    ticket: int
    key: RunnerKey
    since: float
    keep_alive: float | None
    client: str
    affinity: tuple[int, ...]
    turn: int
    rank: int
    background: bool


class Queue:
    """Owns the waiting tickets.  All operations are constant or logarithmic time."""

    def __init__(self) -> None:
        self._tickets: dict[int, Waiting] = {}  # in order of arrival
        self._by_key: dict[RunnerKey, dict[int, Waiting]] = {}
        self._heaps: dict[RunnerKey, list[tuple[int, int]]] = {}
        self._served = 0
        self._last_turn: dict[str, int] = {}
        self._clients: dict[str, int] = {}  # how many of their tickets wait
        self._background: dict[RunnerKey, int] = {}  # how many of the tickets of a key

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
    ) -> None:
        """Let a ticket wait."""
        background = priority <= BACKGROUND
        if background:
            client = f"{client} in the background"
            self._background[key] = self._background.get(key, 0) + 1
        turn = max(self._served, self._last_turn.get(client, 0)) + 1
        self._last_turn[client] = turn
        self._clients[client] = self._clients.get(client, 0) + 1
        rank = turn - _HEAD_START * priority
        waiting = Waiting(ticket, key, now, keep_alive, client, affinity, turn, rank, background)
        self._tickets[ticket] = waiting
        self._by_key.setdefault(key, {})[ticket] = waiting
        heapq.heappush(self._heaps.setdefault(key, []), (rank, ticket))

    def remove(self, ticket: int) -> Waiting | None:
        """Take a ticket out; None if it does not wait."""
        waiting = self._tickets.pop(ticket, None)
        if waiting is None:
            return None
        same = self._by_key[waiting.key]
        del same[ticket]
        if not same:
            del self._by_key[waiting.key], self._heaps[waiting.key]
        if waiting.background:
            self._background[waiting.key] -= 1
            if not self._background[waiting.key]:
                del self._background[waiting.key]
        self._clients[waiting.client] -= 1
        if not self._clients[waiting.client]:
            del self._clients[waiting.client], self._last_turn[waiting.client]
        return waiting

    def serve(self, waiting: Waiting) -> None:
        """Take out a ticket whose turn has come."""
        self._served = max(self._served, waiting.turn)
        self.remove(waiting.ticket)

    def first(self, key: RunnerKey) -> Waiting | None:
        """Return whose turn is next among those who wait for `key`."""
        same = self._by_key.get(key)
        if same is None:
            return None
        heap = self._heaps[key]
        while heap[0][1] not in same:
            heapq.heappop(heap)
        return same[heap[0][1]]

    def count(self, key: RunnerKey) -> int:
        """Return how many wait for `key`."""
        return len(self._by_key.get(key, ()))

    def before(self, key: RunnerKey, *, background: bool) -> int:
        """Return how many of those who wait for `key` come before somebody new."""
        waiting = self.count(key)
        return waiting if background else waiting - self._background.get(key, 0)

    @property
    def in_background(self) -> int:
        """How many wait in the background."""
        return sum(self._background.values())

    def tickets(self, key: RunnerKey) -> list[int]:
        """Return who waits for `key`, in order of arrival."""
        return list(self._by_key.get(key, ()))

    def keys(self) -> list[RunnerKey]:
        """The keys that requests wait for, in the order in which they are served next."""

        def rank(key: RunnerKey) -> tuple[int, int]:
            first = self.first(key)
            assert first is not None
            return first.rank, first.ticket

        return sorted(self._by_key, key=rank)

    def all(self) -> Iterator[Waiting]:
        """Yield everyone, in order of arrival."""
        yield from list(self._tickets.values())

    def oldest(self) -> Waiting | None:
        """Return who has waited longest."""
        return next(iter(self._tickets.values()), None)
