"""Responses that their engine could not read itself, told as what they are: cut.

llama-server reads what a model has written by the form that it was asked for.  A text that ends
before its form does (`max_tokens`) is an error 500 in some of its versions, the last event of a
stream or all there is.  The client has the text by then, and gets the end that belongs to it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import msgspec

from runnerd.relay.body import ABSENT, ALONE, Inference
from runnerd.relay.dialect import Translation
from runnerd.relay.events import DONE, EVENT_STREAM, StreamError, document_of, written
from runnerd.relay.response_adapters.assembly import check_bytes
from runnerd.sse import EventSplitter, joined

_WORDS = "The model produced output that does not match the expected"
_MARK = _WORDS.encode()
_NO_TOOLS = (*ABSENT, msgspec.Raw(b"[]"))
_TOLD = ("id", "object", "created", "model", "system_fingerprint")


def is_unparsed(error: dict[str, Any]) -> bool:
    """Whether an engine's error says that it could not read what its model has written."""
    return str(error.get("message")).startswith(_WORDS)


def can_be_unparsed(fields: Inference) -> bool:
    """Whether an engine reads more of a response than its text."""
    return fields.tools not in _NO_TOOLS or fields.response_format not in ABSENT


class UnparsedEnd:
    """Stands before a translation and gives it an end where the engine has an error."""

    def __init__(self, inner: Translation, model: str) -> None:
        self._inner = inner
        self._model = model
        self._splitter = EventSplitter()
        self._over = False
        self.streams = inner.streams
        self.content_type = inner.content_type or EVENT_STREAM

    def feed(self, data: bytes) -> bytes:
        """Take a piece of the engine's stream.  Raises StreamError."""
        return self._inner.feed(b"".join(map(self._passed, self._splitter.feed(data))))

    def end(self) -> bytes:
        """The last bytes.  Raises StreamError."""
        return self._inner.feed(self._splitter.rest) + self._inner.end()

    def _passed(self, text: bytes) -> bytes:
        if self._over:
            return b""
        if _MARK in text and _is_error(text):
            self._over = True
            return b"".join(self.ending())
        self.note(text)
        return joined([text])

    def note(self, text: bytes) -> None:
        """Look at an event that passes."""
        raise NotImplementedError

    def ending(self) -> Iterator[bytes]:
        """The events that take the place of the error."""
        raise NotImplementedError


def _is_error(text: bytes) -> bool:
    try:
        document_of(text)
    except StreamError as error:
        return is_unparsed(error.error)
    return False


class UnparsedEndOfChat(UnparsedEnd):
    """Of a chat with one response: its last chunk says that the limit was reached."""

    def __init__(self, inner: Translation, model: str) -> None:
        super().__init__(inner, model)
        self._last = b""

    def feed(self, data: bytes) -> bytes:
        """Take a piece of the stream, which mostly is whole events.  Raises StreamError."""
        if self._over or self._splitter.rest or not data.endswith(b"\n\n") or _MARK in data:
            return super().feed(data)
        self._last = data
        return self._inner.feed(data)

    def note(self, text: bytes) -> None:
        self._last = text

    def ending(self) -> Iterator[bytes]:
        known: dict[str, Any] = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": self._model,
        }
        for text in EventSplitter().feed(self._last + b"\n\n"):
            last = document_of(text) or {}
            known |= {name: last[name] for name in _TOLD if name in last}
        end = {"index": 0, "delta": {}, "finish_reason": "length"}
        yield written({**known, "choices": [end]})
        yield DONE


class UnparsedEndOfResponse(UnparsedEnd):
    """Of OpenAI's responses: the item that is being written ends, and so does the response."""

    def __init__(self, inner: Translation, model: str) -> None:
        super().__init__(inner, model)
        self._response: dict[str, Any] = {"object": "response", "model": model}
        self._items: list[dict[str, Any]] = []
        self._open: dict[str, Any] | None = None
        self._text: list[str] = []
        self._kept = 0  # bytes of events

    def note(self, text: bytes) -> None:
        self._kept += len(text)
        check_bytes(self._kept)
        event = document_of(text) or {}
        kind = event.get("type")
        if isinstance(event.get("response"), dict):
            self._response = event["response"]
        elif kind == "response.output_item.added":
            self._open, self._text = event.get("item"), []
        elif kind == "response.output_item.done":
            self._items.append(event.get("item") or {})
            self._open = None
        elif kind == "response.output_text.delta":
            self._text.append(str(event.get("delta") or ""))

    def ending(self) -> Iterator[bytes]:
        if self._open is not None and self._open.get("type") == "message":
            yield from self._message(self._open)
        response = {
            **self._response,
            "status": "incomplete",
            "incomplete_details": {"reason": "max_output_tokens"},
            "output": self._items,
        }
        yield _named({"type": "response.completed", "response": response})

    def _message(self, item: dict[str, Any]) -> Iterator[bytes]:
        text = "".join(self._text)
        part = {"type": "output_text", "annotations": [], "logprobs": [], "text": text}
        done = {**item, "status": "incomplete", "content": [part]}
        self._items.append(done)
        of = {"item_id": item.get("id")}
        yield _named({"type": "response.output_text.done", **of, "text": text})
        yield _named({"type": "response.content_part.done", **of, "part": part})
        yield _named({"type": "response.output_item.done", "item": done})


def _named(event: dict[str, Any]) -> bytes:
    return written(event, str(event["type"]))


_KINDS = {"chat/completions": UnparsedEndOfChat, "responses": UnparsedEndOfResponse}


def with_an_end(
    translation: Translation, operation: str, fields: Inference, model: str
) -> Translation:
    """A translation that has an end for what its engine cannot read; the same where it reads no
    more than text, or writes several responses at once.
    """
    kind = _KINDS.get(operation)
    if kind is None or fields.n not in ALONE or not can_be_unparsed(fields):
        return translation
    return kind(translation, model)
