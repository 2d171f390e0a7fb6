"""A stream of several responses at once: the engine begins it with an event that says nothing.

`data: null` is no chunk, and OpenAI's clients break on it, so it is taken out.
"""

from __future__ import annotations

from runnerd import sse
from runnerd.relay.events import EVENT_STREAM

_NOTHING = b"data: null"


class WithoutNullEvents:
    """Passes the events of a stream on, without those that say nothing."""

    content_type = EVENT_STREAM
    streams = True

    def __init__(self) -> None:
        self._splitter = sse.EventSplitter()

    def feed(self, data: bytes) -> bytes:
        return b"".join(map(self.passed, self._splitter.feed(data)))

    def passed(self, text: bytes) -> bytes:
        """The bytes that the client gets of an event."""
        return b"" if text == _NOTHING else sse.joined([text])

    def end(self) -> bytes:
        return self._splitter.rest
