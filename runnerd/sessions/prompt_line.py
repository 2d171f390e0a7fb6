"""The prompts of one session stand in line: one is answered at a time, in the order they came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from runnerd.errors import Overloaded

_MOST = 16  # prompts of one session


class Standing:
    """One prompt's place.  `interrupted` once somebody has asked it to end."""

    def __init__(self) -> None:
        self.turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.interrupted = False
        self._stop: Callable[[], None] | None = None

    def stops_by(self, stop: Callable[[], None]) -> None:
        """An interruption calls `stop` from now on."""
        self._stop = stop
        if self.interrupted:
            stop()

    def interrupt(self) -> None:
        """End: now, if it is being answered, or without being answered at all.  Idempotent."""
        self.interrupted = True
        if self._stop is not None:
            self._stop()
        self._go()

    def _go(self) -> None:
        if not self.turn.done():
            self.turn.set_result(None)


class PromptLines:
    """The lines of all sessions, by the sessions' ids."""

    def __init__(self) -> None:
        self._lines: dict[str, list[Standing]] = {}
        self.left = 0  # how many prompts have left any line

    @asynccontextmanager
    async def place(self, session: str) -> AsyncIterator[Standing]:
        """A place in the line of a session, from when its turn comes, or it was interrupted.

        Raises errors.Overloaded where too many stand there.
        """
        line = self._lines.setdefault(session, [])
        if len(line) >= _MOST:
            raise Overloaded(f"{_MOST} prompts of this session wait already", retry_after=5)
        standing = Standing()
        line.append(standing)
        try:
            line[0]._go()
            await standing.turn
            yield standing
        finally:
            line.remove(standing)
            self.left += 1
            if line:
                line[0]._go()
            elif self._lines.get(session) is line:
                del self._lines[session]

    def waiting(self, session: str) -> int:
        """How many prompts of a session are answered or wait."""
        return len(self._lines.get(session, ()))

    def interrupt(self, session: str) -> int:
        """Interrupt all prompts of a session; return how many that were."""
        standing = [each for each in self._lines.get(session, ()) if not each.interrupted]
        for each in standing:
            each.interrupt()
        return len(standing)
