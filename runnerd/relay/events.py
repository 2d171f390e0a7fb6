"""The engine's event stream as JSON documents, read as it comes, and documents as events."""

from __future__ import annotations

from typing import Any

import msgspec

from runnerd import sse
from runnerd.relay.body_scan import outlines

EVENT_STREAM = b"text/event-stream"
"""Content type of a stream of events, as servers send them to browsers."""

DONE = sse.encoded(b"[DONE]")
"""What OpenAI's streams end with."""

_DATA = b"data: "
_NOTHING = (b"[DONE]", b"null", b"")  # null: a stream of several responses

_LARGE = 2**16  # bytes of an event that is cheap, whatever is in it
_MOST_CONTAINERS = 2**15  # in one event: some milliseconds
_MOST_VALUES = 2**19
_MOST_CONTAINERS_IN_WHOLE = 2**16  # a list for each text that was embedded
_MOST_VALUES_IN_WHOLE = 2**23  # 2,048 texts, 4,096 numbers each

_decode = msgspec.json.Decoder().decode


class StreamError(Exception):
    """The stream carried an error object, or something that is no event stream."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(str(error.get("message", "")))
        self.error = error


class UnwantedResponse(StreamError):
    """A whole response that an engine should have refused, with the error that it should have
    had: it may be asked in other words.
    """


def broken_off() -> StreamError:
    """The error of a stream that ended before its response did."""
    return StreamError({"message": "the engine's response broke off"})


def unknown_shape() -> StreamError:
    """The error of a stream of which nothing can be made."""
    return StreamError({"message": "the engine's stream is of an unknown shape"})


def written(document: Any, type: str = "") -> bytes:
    """An event with a document; `type` is the event's, where a stream has several."""
    return sse.encoded(msgspec.json.encode(document), type)


class Events:
    """Turns bytes into the documents of the events that they complete."""

    def __init__(self) -> None:
        self._splitter = sse.EventSplitter()

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Take a piece of the stream; return the documents that end in it.  Raises StreamError."""
        texts = self._splitter.feed(data)
        return [document for text in texts if (document := document_of(text)) is not None]


def document_of(text: bytes) -> dict[str, Any] | None:
    """The document in an event's text, None where it has none.  Raises StreamError."""
    if text.startswith(_DATA) and b"\n" not in text:  # as engines write them: no need to parse
        data = text[len(_DATA) :].strip()
    elif text.startswith(b":") and b"\n" not in text:  # a comment
        return None
    else:
        event = sse.parse(text)
        data = event.data.strip()
        if event.error:
            data = b'{"error":%s}' % event.error
    return None if data in _NOTHING else _document(data)


def whole_document(data: bytes) -> dict[str, Any]:
    """The document that is a whole response.  Raises StreamError."""
    if _is_heavy(data, _MOST_CONTAINERS_IN_WHOLE, _MOST_VALUES_IN_WHOLE):
        raise StreamError({"message": "the engine's response has more values than can be read"})
    try:
        document = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StreamError({"message": "the engine's response is not JSON"}) from error
    if not isinstance(document, dict):
        raise StreamError({"message": "the engine's response is of an unknown shape"})
    return document


def _document(data: bytes) -> dict[str, Any]:
    if len(data) > _LARGE and _is_heavy(data, _MOST_CONTAINERS, _MOST_VALUES):
        raise StreamError({"message": "the engine's stream is not JSON of a size that can be read"})
    try:
        document = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StreamError({"message": "the engine's stream is not JSON"}) from error
    if not isinstance(document, dict):
        raise unknown_shape()
    if isinstance(document.get("error"), dict):
        raise StreamError(document["error"])
    return document


def _is_heavy(data: bytes, most_containers: int, most_values: int) -> bool:
    """Whether JSON has more values than the event loop has time to decode; what stands in its
    texts counts for nothing.
    """
    if data.count(b"[") + data.count(b"{") <= most_containers and data.count(b",") <= most_values:
        return False
    containers = values = 0
    for piece in outlines(data):
        containers += piece.count(b"[") + piece.count(b"{")
        values += piece.count(b",")
    return containers > most_containers or values > most_values
