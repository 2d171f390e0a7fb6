"""One after the other, and fairly: who has had the least time of what there is one of is next.

In order of arrival one principal with many slow requests makes all others wait for all of them.
Here each principal has a line of its own, and waits for no more than what is under way and for
those that have had less (start-time fair queueing, in seconds of the event loop's clock).  Who
comes back after a pause has saved up nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator

from runnerd.errors import Overloaded


class FairTurns:
    """Turns at something, in fair order among principals.

    `most_waiting` bounds how many requests of one principal wait; None where something else does.
    """

    def __init__(self, name: str, most_waiting: int | None = None) -> None:
        self._name = name
        self._most_waiting = most_waiting
        self._taken = False
        self._lines: dict[str, deque[asyncio.Future[None]]] = {}
        self._had: dict[str, float] = {}  # seconds, of those that are ahead of `_reached`
        self._reached = 0.0  # what the one had when its turn began that has it now

    @contextlib.asynccontextmanager
    async def turn(self, principal: str) -> AsyncIterator[None]:
        """Wait for a turn and have it.  Raises errors.Overloaded where too many wait already."""
        await self._take(principal)
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            yield
        finally:
            self._had[principal] = self._seconds(principal) + clock() - began
            self._pass_on()

    async def _take(self, principal: str) -> None:
        if not self._taken:
            self._begin(principal)
            return
        line = self._lines.setdefault(principal, deque())
        if self._most_waiting is not None and len(line) >= self._most_waiting:
            raise Overloaded(
                f"{len(line)} of your requests wait for {self._name} already; "
                "send this one again when they are answered"
            )
        place = asyncio.get_running_loop().create_future()
        line.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._pass_on()  # it had the turn already, and leaves
            else:
                self._leave(principal, place)
            raise

    def _leave(self, principal: str, place: asyncio.Future[None]) -> None:
        line = self._lines.get(principal)
        if line is None:
            return
        with contextlib.suppress(ValueError):
            line.remove(place)
        if not line:
            del self._lines[principal]

    def _seconds(self, principal: str) -> float:
        return max(self._had.get(principal, 0.0), self._reached)

    def _begin(self, principal: str) -> None:
        self._taken = True
        self._reached = self._seconds(principal)
        self._had = {who: had for who, had in self._had.items() if had > self._reached}

    def _pass_on(self) -> None:
        """Give the turn to the next one, if there is any."""
        while self._lines:
            principal = min(self._lines, key=self._seconds)  # the first in line, of equals
            place = self._lines[principal].popleft()
            if not self._lines[principal]:
                del self._lines[principal]
            if not place.done():
                self._begin(principal)
                place.set_result(None)
                return
        self._taken = False
