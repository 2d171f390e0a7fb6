"""The engine's events, each turned into others before the client's response is made of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from runnerd.relay.dialect import Translation
from runnerd.relay.events import EVENT_STREAM, document_of, written
from runnerd.sse import EventSplitter, joined, parse


class RewrittenEvents:
    """Stands before a translation and says which events that gets; `rewritten` says them."""

    def __init__(self, inner: Translation) -> None:
        self._inner = inner
        self._splitter = EventSplitter()
        self.streams = inner.streams
        self.content_type = inner.content_type or EVENT_STREAM

    def feed(self, data: bytes) -> bytes:
        """Take a piece of the engine's stream.  Raises StreamError."""
        return self._inner.feed(self._rewritten(data))

    def end(self) -> bytes:
        """The last bytes.  Raises StreamError."""
        return self._inner.feed(self._splitter.rest) + self._inner.end()

    def rewritten(self, event: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the events that take the place of one.  Raises StreamError."""
        raise NotImplementedError

    def _rewritten(self, data: bytes) -> bytes:
        """The events that end in a piece of the stream; what has no document passes as it is."""
        pieces = []
        for text in self._splitter.feed(data):
            event = document_of(text)
            if event is None:
                pieces.append(joined([text]))
                continue
            named = parse(text).type  # a chat's events have no names, a response's have
            for each in self.rewritten(event):
                pieces.append(written(each, named and each.get("type", "")))
        return b"".join(pieces)
