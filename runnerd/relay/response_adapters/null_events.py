"""A stream of several answers at once: the engine begins it with an event that says nothing.

`data: null` is no chunk, and OpenAI's clients break on it, so it is taken out.
"""

from __future__ import annotations

from runnerd.relay.events import EVENT_STREAM

_NOTHING = b"data: null"
_END = b"\n\n"


class WithoutNullEvents:
    """Passes the events of a stream on, without those that say nothing."""

    content_type = EVENT_STREAM
    streams = True

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        *events, self._rest = (self._rest + data).split(_END)
        return b"".join(map(self.passed, events))

    def passed(self, event: bytes) -> bytes:
        """Return what the client gets of an event."""
        return b"" if event.strip() == _NOTHING else event + _END

    def end(self) -> bytes:
        return self._rest
