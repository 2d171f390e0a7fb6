"""A stream of several answers at once: the engine begins it with an event that says nothing.

`data: null` is no chunk, and OpenAI's clients break on it, so it is taken out.
"""

from __future__ import annotations

_NOTHING = b"data: null"
_END = b"\n\n"


class Several:
    """Passes the events of a stream on, without those that say nothing."""

    content_type = b"text/event-stream"
    streams = True

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        *events, self._rest = (self._rest + data).split(_END)
        return b"".join(event + _END for event in events if event.strip() != _NOTHING)

    def end(self) -> bytes:
        return self._rest
