"""A response that somebody in the daemon reads piece by piece, while it is being made.

A reader that does not keep up makes the engine wait, as a client that reads slowly does: the
exchange is paused while more than `most` bytes lie here, and goes on once half of that was read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from runnerd.errors import RunnerdError


class Opening(NamedTuple):
    """What a response begins with.  A status of an error is none: it is raised instead."""

    status: int
    content_type: bytes
    warnings: tuple[str, ...]


class StreamedResponse:
    """A ResponseSink for one reader, who iterates over the pieces of the body.

    What came before an error is read before the error is raised.
    """

    wants_signs_of_life = False

    def __init__(self, most: int) -> None:
        self._most = most
        self._flow: Callable[[bool], None] | None = None
        self._cancel: Callable[[], None] | None = None
        self._paused = False
        self._pieces: deque[bytes] = deque()
        self._bytes = 0
        self._opening: Opening | None = None
        self._failure: BaseException | None = None
        self._news = asyncio.Event()
        self.ended = False
        self.has_place = True  # whether a runner is there; where nobody can tell it is taken so
        self.when_placed: Callable[[], None] = lambda: None  # is called once one is
        self.waited: Callable[[], float] = lambda: 0.0

    def control(
        self,
        flow: Callable[[bool], None],
        cancel: Callable[[], None],
        waited: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Tell `flow` whether the exchange has to pause, each time that this changes, and call
        `cancel` where it is stopped.  `waited` says for how many seconds it has waited for a
        place, so far.
        """
        self._flow = flow
        self._cancel = cancel
        self.waited = waited

    def stop(self) -> None:
        """End the response here: what has come is read, and then it is over.  Idempotent."""
        if not self.ended:
            self._end(None)
            if self._cancel is not None:
                self._cancel()

    # the reader's side

    async def opening(self) -> Opening:
        """Wait until the response begins.  Raises what the exchange failed with before that."""
        while self._opening is None:
            if self._failure is not None:
                raise self._failure
            if self.ended:
                raise asyncio.CancelledError
            await self._next_news()
        return self._opening

    def __aiter__(self) -> StreamedResponse:
        return self

    async def __anext__(self) -> bytes:
        """The next piece, which is never empty.  Raises what the exchange failed with."""
        while not self._pieces:
            if self._failure is not None:
                raise self._failure
            if self.ended:
                raise StopAsyncIteration
            await self._next_news()
        piece = self._pieces.popleft()
        self._bytes -= len(piece)
        if self._paused and self._bytes <= self._most // 2:
            self._pause(False)
        return piece

    async def _next_news(self) -> None:
        self._news.clear()
        await self._news.wait()

    # the exchange's side

    @property
    def begun(self) -> bool:
        return self._opening is not None

    def unread_bytes(self) -> int:
        return self._bytes

    def waiting(self, *, streams: bool) -> None: ...

    def placed(self) -> None:
        if not self.has_place:
            self.has_place = True
            self.when_placed()

    def head(
        self,
        status: int,
        content_type: bytes,
        length: int | None,
        *,
        chunked: bool,
        framed: bool,
        streams: bool,
        warnings: tuple[str, ...],
    ) -> bool:
        self._opening = self._opening or Opening(status, content_type, warnings)
        self._news.set()
        return False

    def piece(self, data: bytes) -> None:
        if not data or self.ended:
            return
        self._pieces.append(data)
        self._bytes += len(data)
        self._news.set()
        if not self._paused and self._bytes > self._most:
            self._pause(True)

    def end(self) -> None:
        self._end(None)

    def whole(
        self, status: int, content_type: bytes, body: bytes, warnings: tuple[str, ...]
    ) -> None:
        self._opening = self._opening or Opening(status, content_type, warnings)
        if body and not self.ended:
            self._pieces.append(body)
            self._bytes += len(body)
        self._end(None)

    def error(self, error: RunnerdError, *, intact: bool, warnings: tuple[str, ...]) -> None:
        self._end(error)

    def gone(self) -> None:
        if not self.ended:
            self._pieces.clear()
            self._bytes = 0
            self._end(asyncio.CancelledError())

    def _end(self, failure: BaseException | None) -> None:
        if not self.ended:
            self.ended = True
            self._failure = failure
            self._news.set()

    def _pause(self, paused: bool) -> None:
        self._paused = paused
        if self._flow is not None and not self.ended:
            self._flow(paused)
