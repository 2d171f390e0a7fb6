"""Those who wait for one pool, in the order in which they are served.

Each client has a line of its own, by rank; the first of each of these are the *heads*.  Of them a
client that holds no place of the pool comes before one that holds some, and what nobody waits for
behind all.  Whether a client holds places changes while it waits, so heads that are none any more
stay in their heap until they come up, or are too many.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection
from typing import NamedTuple

from runnerd.scheduler.decisions import RunnerKey

_Head = tuple[bool, bool, int, int]  # in the background, holds places, rank, ticket
_MANY = 16


class Waiting(NamedTuple):  # a tuple: one is made for each request that waits
    """One waiting ticket.  `since` is when it came, `keep_alive` what it asks for; `long`: it may
    take long, by what it asks for.
    """

    ticket: int
    key: RunnerKey
    since: float
    keep_alive: float | None
    client: str
    affinity: tuple[int, ...]
    turn: int
    rank: int
    background: bool
    long: bool = False


class Line:
    """Owns the tickets that wait for one pool, by ticket in order of arrival: `waiting`.

    `held` says how many places of it a client holds; `moved` has to be called when that becomes
    none, or is none no more.  Where one client waits alone, which is the common case, there are no
    heads.
    """

    __slots__ = ("_heads", "_held", "_of_client", "background", "waiting")

    def __init__(self, held: Callable[[str], int]) -> None:
        self.waiting: dict[int, Waiting] = {}
        self.background = 0  # how many of them wait in the background
        self._held = held
        self._of_client: dict[str, list[tuple[int, int]]] = {}  # heaps of rank and ticket
        self._heads: list[_Head] = []  # a heap

    def add(self, waiting: Waiting) -> None:
        """Let a ticket wait."""
        ticket, rank = waiting.ticket, waiting.rank
        self.waiting[ticket] = waiting
        self.background += waiting.background
        same = self._of_client.get(waiting.client)
        if same is None:
            self._of_client[waiting.client] = [(rank, ticket)]
        else:
            heapq.heappush(same, (rank, ticket))
            if same[0][1] != ticket:
                return
        self._put_head(waiting)

    def remove(self, waiting: Waiting) -> None:
        """Take a ticket out, which has to wait."""
        ticket, known = waiting.ticket, self.waiting
        del known[ticket]
        self.background -= waiting.background
        same = self._of_client[waiting.client]
        if same[0][1] != ticket:
            return  # it goes when it comes up
        while same and same[0][1] not in known:
            heapq.heappop(same)
        if same:
            self._put_head(known[same[0][1]])
        else:
            del self._of_client[waiting.client]
            if len(self._of_client) == 1:
                self._heads.clear()

    def first(self, passed_over: Collection[str] = ()) -> Waiting | None:
        """Return whose turn is next, some clients left out."""
        if len(self._of_client) == 1:
            (same,) = self._of_client.values()
            found = self.waiting[same[0][1]]
            return None if found.client in passed_over else found
        return self._first_of_heads(passed_over)

    def _first_of_heads(self, passed_over: Collection[str]) -> Waiting | None:
        heads, found = self._heads, None
        aside: list[_Head] = []
        while heads:
            waiting = self._waiting(heads[0])
            if waiting is None:
                heapq.heappop(heads)
            elif waiting.client in passed_over:
                aside.append(heapq.heappop(heads))
            else:
                found = waiting
                break
        for head in aside:
            heapq.heappush(heads, head)
        return found

    def moved(self, client: str) -> None:
        """A client holds a place now, or none any more."""
        if (same := self._of_client.get(client)) is not None:
            self._put_head(self.waiting[same[0][1]])

    def _waiting(self, head: _Head) -> Waiting | None:
        """What a head stands for; None where it is none any more."""
        waiting = self.waiting.get(head[3])
        if waiting is None or self._of_client[waiting.client][0][1] != head[3]:
            return None
        return waiting if head[1] == self._holds(waiting) else None

    def _holds(self, waiting: Waiting) -> bool:
        return not waiting.background and self._held(waiting.client) > 0

    def _put_head(self, waiting: Waiting) -> None:
        heads, clients = self._heads, self._of_client
        if len(clients) == 1:
            return
        if not heads or len(heads) > _MANY + 2 * len(clients):
            heads[:] = (self._head(self.waiting[same[0][1]]) for same in clients.values())
            heapq.heapify(heads)
        else:
            heapq.heappush(heads, self._head(waiting))

    def _head(self, waiting: Waiting) -> _Head:
        return waiting.background, self._holds(waiting), waiting.rank, waiting.ticket
