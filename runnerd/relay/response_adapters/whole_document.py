"""A response that is one JSON object, changed once all of it is there."""

from __future__ import annotations

from typing import Any

import msgspec


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
        """What has come.  Raises msgspec.DecodeError."""
        found: dict[str, Any] = msgspec.json.decode(self._data)
        return found
