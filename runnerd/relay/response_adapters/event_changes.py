"""OpenAI's responses with something changed in them: event by event, or once they are whole."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from runnerd.relay.events import document_of, written
from runnerd.relay.response_adapters.assembly import Assembly
from runnerd.relay.response_adapters.null_events import WithoutNullEvents


class Change(Protocol):
    """What is changed in the choices of one response."""

    def concerns(self, event: bytes) -> bool:
        """Return whether an event has to be read; others stay as they are."""
        ...

    def change(self, document: dict[str, Any]) -> None:
        """Change the choices in a chunk or a whole response.  Raises StreamError."""
        ...


class ChangedStream(WithoutNullEvents):
    """A stream with something changed in its events."""

    def __init__(self, change: Change) -> None:
        super().__init__()
        self._change = change

    def passed(self, text: bytes) -> bytes:
        document = document_of(text) if self._change.concerns(text) else None
        if document is None:
            return super().passed(text)
        self._change.change(document)
        return written(document)


class ChangedResponse:
    """A whole response with something changed in it, put together from a stream."""

    content_type = b"application/json"
    streams = False

    def __init__(self, change: Change, assembly: Assembly) -> None:
        self._change = change
        self._assembly = assembly

    def feed(self, data: bytes) -> bytes:
        """Take a piece of the stream.  Raises StreamError."""
        self._assembly.feed(data)
        return b""

    def end(self) -> bytes:
        self._assembly.check_begun()
        document = self._assembly.document()
        self._change.change(document)
        return msgspec.json.encode(document)
