"""A response that is one JSON object, changed once all of it is there."""

from __future__ import annotations

from typing import Any

from runnerd.relay.events import whole_document


class WholeDocument:
    """Collects a response for a subclass, whose `end` reads it and says what becomes of it."""

    content_type = b"application/json"
    streams = False

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> bytes:
        self._data += data
        return b""

    def document(self) -> dict[str, Any]:
        """What has come.  Raises StreamError."""
        return whole_document(bytes(self._data))
