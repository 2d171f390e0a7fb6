"""The engine's events as Anthropic's clients count on them, as they come or as one message.

The engine speaks them itself.  It tells a stop sequence without giving it as the reason, and begins
a call without its (yet empty) input, a thought without its signature, a message with a chat's id.
"""

from __future__ import annotations

from typing import Any

import msgspec

from runnerd import sse
from runnerd.relay.events import EVENT_STREAM, Events, broken_off, document_of, written
from runnerd.relay.response_adapters.assembly import check_entries

_USUAL: dict[str, dict[str, Any]] = {"tool_use": {"input": {}}, "thinking": {"signature": ""}}
_CHANGED = (b'"message_start"', b'"content_block_start"', b'"message_delta"')


class CountedTokens:
    """The engine's count, as it is."""

    streams = False
    content_type = b"application/json"

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> bytes:
        """Collect the engine's response."""
        self._data += data
        return b""

    def end(self) -> bytes:
        """Return it."""
        return bytes(self._data)


class StreamedMessage:
    """A stream, event by event; all but a few are passed on as they come."""

    streams = True
    content_type = EVENT_STREAM

    def __init__(self) -> None:
        self._splitter = sse.EventSplitter()

    def feed(self, data: bytes) -> bytes:
        """Take a piece of the stream; return the events that end in it.  Raises StreamError."""
        return b"".join(map(_passed, self._splitter.feed(data)))

    def end(self) -> bytes:
        """The bytes that are left."""
        return self._splitter.rest


class WholeMessage:
    """Puts the events of a stream together into the message that they describe."""

    streams = False
    content_type = b"application/json"

    def __init__(self) -> None:
        self._events = Events()
        self._message: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._inputs: dict[int, list[str]] = {}
        self._texts: dict[tuple[int, str], list[str]] = {}  # of a block, by its member
        self._stopped = False

    def feed(self, data: bytes) -> bytes:
        """Take a piece of the stream.  Raises StreamError."""
        for event in self._events.feed(data):
            self._take(_completed(event))
        return b""

    def end(self) -> bytes:
        """Return the message.  Raises StreamError when the stream broke off."""
        if not self._stopped:
            raise broken_off()
        for index, pieces in self._inputs.items():
            self._blocks[index]["input"] = _object("".join(pieces))
        for (index, name), pieces in self._texts.items():
            self._blocks[index][name] = "".join((self._blocks[index].get(name, ""), *pieces))
        content = [self._blocks[index] for index in sorted(self._blocks)]
        return msgspec.json.encode({**self._message, "content": content})

    def _take(self, event: dict[str, Any]) -> None:
        match event.get("type"):
            case "message_start":
                self._message = dict(event["message"])
            case "content_block_start":
                self._blocks[event["index"]] = dict(event["content_block"])
                check_entries(self._blocks)
            case "content_block_delta":
                self._extend(event["index"], event["delta"])
            case "message_delta":
                usage = {**self._message.get("usage", {}), **event.get("usage", {})}
                self._message |= event["delta"] | {"usage": usage}
            case "message_stop":
                self._stopped = True

    def _extend(self, index: int, delta: dict[str, Any]) -> None:
        block = self._blocks[index]
        match delta.get("type"):
            case "text_delta":
                self._texts.setdefault((index, "text"), []).append(delta["text"])
            case "thinking_delta":
                self._texts.setdefault((index, "thinking"), []).append(delta["thinking"])
            case "signature_delta":
                block["signature"] = delta["signature"]
            case "input_json_delta":
                self._inputs.setdefault(index, []).append(delta["partial_json"])


def _passed(text: bytes) -> bytes:
    event = document_of(text) if any(kind in text for kind in _CHANGED) else None
    return sse.joined([text]) if event is None else written(_completed(event), sse.parse(text).type)


def _completed(event: dict[str, Any]) -> dict[str, Any]:
    """Return an event with what the engine leaves out of it."""
    block, delta, begun = event.get("content_block"), event.get("delta"), event.get("message")
    if isinstance(begun, dict):
        begun["id"] = "msg_" + str(begun.get("id")).removeprefix("chatcmpl-")
    if isinstance(block, dict) and (usual := _USUAL.get(str(block.get("type")))) is not None:
        block |= {name: value for name, value in usual.items() if name not in block}
    if event.get("type") == "message_delta" and isinstance(delta, dict):
        if delta.get("stop_sequence") is not None:
            delta["stop_reason"] = "stop_sequence"
    return event


def _object(text: str) -> Any:
    try:
        return msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return {}
