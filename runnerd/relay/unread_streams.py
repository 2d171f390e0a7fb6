"""Streams whose clients do not read, and what they hold that others wait for.

A client that does not keep up makes its engine wait, and keeps its place there meanwhile.  That is
right as long as nobody else wants the place.  As soon as others wait, as many of those streams as
are waited for end with a reason, longest unread first.  A client that reads slowly, but reads,
keeps its place: something has left the buffer between two looks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from runnerd.scheduler import RunnerKey

_INTERVAL = 0.25  # seconds between two looks


class UnreadStream(Protocol):
    """A stream that waits for its client."""

    @property
    def key(self) -> RunnerKey:
        """What its runner serves."""
        ...

    def unread_bytes(self) -> int:
        """How much the client has still to take."""
        ...

    def give_up(self) -> None:
        """End the stream, since others wait for its place; it is looked after no more."""
        ...


class UnreadStreams:
    """Looks after streams that wait; `wanted` is how many wait for what a runner of a key has."""

    def __init__(self, wanted: Callable[[RunnerKey], int]) -> None:
        self._wanted = wanted
        self._streams: dict[UnreadStream, int] = {}  # what was unread; who waits longest first
        self._timer: asyncio.TimerHandle | None = None

    def add(self, stream: UnreadStream) -> None:
        """It waits from now on."""
        self._streams.setdefault(stream, stream.unread_bytes())
        self._look_later()

    def _look_later(self) -> None:
        if self._timer is None and self._streams:
            self._timer = asyncio.get_running_loop().call_later(_INTERVAL, self._look)

    def remove(self, stream: UnreadStream) -> None:
        """It waits no more; harmless for one that does not."""
        self._streams.pop(stream, None)

    def close(self) -> None:
        """Look no more."""
        self._streams.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        standing: dict[RunnerKey, list[UnreadStream]] = {}
        for stream, before in self._streams.items():
            unread = self._streams[stream] = stream.unread_bytes()
            if unread >= before:
                standing.setdefault(stream.key, []).append(stream)
        for key, streams in standing.items():
            for stream in streams[: self._wanted(key)]:
                self.remove(stream)
                stream.give_up()
        self._look_later()
