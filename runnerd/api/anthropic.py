"""Anthropic's messages as a dialect of the relay.

The engine speaks this API itself, so a stream passes as it comes.  What is added: errors in
Anthropic's shape, which its SDKs turn into their exceptions, and whole answers that are put
together from a stream, because the engine notices a vanished client only while it streams.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from runnerd.errors import ClientError
from runnerd.relay.body import UNDECODABLE, Body, streamed, undecodable
from runnerd.relay.dialect import Wish
from runnerd.relay.events import EVENT_STREAM, Events, StreamError
from runnerd.relay.routes import OPERATIONS, Route

_ORIGIN = "anthropic/messages"
_PREFIXES = ("", "/anthropic", "/engines", "/engines/llama.cpp")
_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
}


class _Source(msgspec.Struct):
    type: str | None = None


class _Block(msgspec.Struct):
    source: _Source | None = None
    content: list[_Block] | str | None = None


class _Message(msgspec.Struct):
    content: list[_Block] | str | None = None


class _Asked(msgspec.Struct):
    messages: list[_Message] = []
    stream: bool | None = None


_decode = msgspec.json.Decoder(_Asked).decode


@dataclass(frozen=True, slots=True)
class AnthropicDialect:
    """`messages`, or with `counts` its companion that counts tokens."""

    counts: bool = False
    origin: str = _ORIGIN
    shapes_errors: bool = True
    id_header: bytes | None = b"request-id"

    def read(self, body: Body) -> Wish:
        """Return what a request asks for.  Raises errors.ClientError."""
        asked = _asked(body)
        if self.counts:
            return Wish("messages/count_tokens", bytes(body), _AsItIs(streams=False))
        if asked.stream:
            return Wish("messages", bytes(body), _AsItIs(streams=True))
        return Wish("messages", b"".join(streamed(body)), _WholeMessage())

    def error(self, message: str, status: int) -> bytes:
        """Return an error's body."""
        kind = _KINDS.get(status, "api_error")
        return msgspec.json.encode({"type": "error", "error": {"type": kind, "message": message}})

    def broken(self, message: str) -> bytes:
        """Return the event that ends a stream with an error."""
        return b"event: error\ndata: %s\n\n" % self.error(message, 500)


def _asked(body: Body) -> _Asked:
    try:
        asked = _decode(body)
    except UNDECODABLE as error:
        raise undecodable(error) from error
    if not asked.messages:
        raise ClientError("messages: at least one message is required")
    todo = [message.content for message in asked.messages]
    while todo:
        blocks = todo.pop()
        for block in blocks if isinstance(blocks, list) else ():
            if block.source is not None and block.source.type == "url":
                raise ClientError("images must be sent inline (base64); the daemon fetches nothing")
            todo.append(block.content)
    return asked


def routes() -> dict[str, Route]:
    """Return the routes by their paths."""
    found = {}
    for prefix in _PREFIXES:
        for name, counts in (("messages", False), ("messages/count_tokens", True)):
            route = Route(OPERATIONS[name], dialect=AnthropicDialect(counts))
            found[f"{prefix}/v1/{name}"] = route
    return found


class _AsItIs:
    """The engine's own answer, as it comes or collected."""

    def __init__(self, *, streams: bool) -> None:
        self.streams = streams
        self.content_type = EVENT_STREAM if streams else b"application/json"
        self._data = bytearray()

    def feed(self, data: bytes) -> bytes:
        if self.streams:
            return data
        self._data += data
        return b""

    def end(self) -> bytes:
        return bytes(self._data)


class _WholeMessage:
    """Puts the events of a stream together into the message that they describe."""

    streams = False
    content_type = b"application/json"

    def __init__(self) -> None:
        self._events = Events()
        self._message: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._inputs: dict[int, str] = {}
        self._stopped = False

    def feed(self, data: bytes) -> bytes:
        for event in self._events.feed(data):
            self._take(event)
        return b""

    def end(self) -> bytes:
        """Return the message.  Raises StreamError when the stream broke off."""
        if not self._stopped:
            raise StreamError({"message": "the engine's answer broke off"})
        for index, text in self._inputs.items():
            self._blocks[index]["input"] = _object(text)
        content = [self._blocks[index] for index in sorted(self._blocks)]
        return msgspec.json.encode({**self._message, "content": content})

    def _take(self, event: dict[str, Any]) -> None:
        match event.get("type"):
            case "message_start":
                self._message = dict(event["message"])
            case "content_block_start":
                self._blocks[event["index"]] = dict(event["content_block"])
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
                block["text"] = block.get("text", "") + delta["text"]
            case "thinking_delta":
                block["thinking"] = block.get("thinking", "") + delta["thinking"]
            case "signature_delta":
                block["signature"] = delta["signature"]
            case "input_json_delta":
                self._inputs[index] = self._inputs.get(index, "") + delta["partial_json"]


def _object(text: str) -> Any:
    try:
        return msgspec.json.decode(text or "{}")
    except msgspec.DecodeError:
        return {}
