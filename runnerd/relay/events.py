"""The engine's event stream as JSON documents, read as it comes, and documents as events."""

from __future__ import annotations

from typing import Any

import msgspec

from runnerd import sse

EVENT_STREAM = b"text/event-stream"
"""Content type of a stream of events, as servers send them to browsers."""

DONE = sse.encoded(b"[DONE]")
"""What OpenAI's streams end with."""

_DATA = b"data: "
_NOTHING = (b"[DONE]", b"null", b"")  # null: a stream of several responses

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
    else:
        event = sse.parse(text)
        data = event.data.strip()
        if event.error:
            data = b'{"error":%s}' % event.error
    return None if data in _NOTHING else _document(data)


def _document(data: bytes) -> dict[str, Any]:
    try:
        document = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StreamError({"message": "the engine's stream is not JSON"}) from error
    if not isinstance(document, dict):
        raise StreamError({"message": "the engine's stream is of an unknown shape"})
    if isinstance(document.get("error"), dict):
        raise StreamError(document["error"])
    return document
