"""The engine's event stream, read as it comes, and events as clients get them."""

from __future__ import annotations

from typing import Any

import msgspec

EVENT_STREAM = b"text/event-stream"
"""Content type of a stream of events, as servers send them to browsers."""

_decode = msgspec.json.Decoder().decode


class StreamError(Exception):
    """The stream carried an error object, or something that is no event stream."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(str(error.get("message", "")))
        self.error = error


def broken_off() -> StreamError:
    """Return the error of a stream that ended before its answer did."""
    return StreamError({"message": "the engine's answer broke off"})


def written(document: Any, kind: str = "") -> bytes:
    """Return an event with a document; `kind` is its type, where a stream has several."""
    data = b"data: %s\n\n" % msgspec.json.encode(document)
    return b"event: %s\n%s" % (kind.encode(), data) if kind else data


class Events:
    """Turns bytes into the events that they complete."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Return the events that end in `data`.  Raises StreamError."""
        events = []
        for line in self.lines(data):
            if (event := said(line)) is not None:
                events.append(event)
        return events

    def lines(self, data: bytes) -> list[bytes]:
        """Return the lines that end in `data`, for `said`."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return lines


def said(line: bytes) -> dict[str, Any] | None:
    """Return the event in a line, None where there is none.  Raises StreamError."""
    if line.startswith(b"data:"):
        text = line[5:].strip()
        if text not in (b"[DONE]", b"null", b""):  # null: a stream of several answers
            return _event(text)
    elif line.startswith(b"error:"):
        _event(b'{"error":%s}' % line[6:].strip())
    return None


def _event(data: bytes) -> dict[str, Any]:
    try:
        event = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StreamError({"message": "the engine's stream is not JSON"}) from error
    if not isinstance(event, dict):
        raise StreamError({"message": "the engine's stream is of an unknown shape"})
    if isinstance(event.get("error"), dict):
        raise StreamError(event["error"])
    return event
