"""Who gets an engine's response, in tests: it only notes what it is told."""

from __future__ import annotations

import asyncio

from runnerd.relay.response_parser import ResponseHead
from runnerd.relay.response_receiver import Loss


class Receiver:
    """An ResponseReceiver.  `as_it_is` is what it says to the head; `over` is set at the end.

    `ends` has None for a response that is complete, and there may be one end only.
    """

    def __init__(self, *, as_it_is: bool = False) -> None:
        self._as_it_is = as_it_is
        self.head: ResponseHead | None = None
        self.body = b""
        self.ends: list[Loss | None] = []
        self.over = asyncio.Event()

    @property
    def lost(self) -> Loss | None:
        """Why the response will not be completed."""
        return self.ends[0] if self.ends else None

    def engine_head(self, head: ResponseHead) -> bool:
        self.head = head
        return self._as_it_is

    def engine_body(self, data: bytes) -> None:
        self.body += data

    def engine_done(self) -> None:
        self._end(None)

    def engine_lost(self, loss: Loss) -> None:
        self._end(loss)

    def _end(self, loss: Loss | None) -> None:
        assert not self.ends
        self.ends.append(loss)
        self.over.set()
