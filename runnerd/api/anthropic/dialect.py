"""Anthropic's messages as a dialect of the relay.

The engine speaks this API itself, so most of it passes as it comes.  What is added: errors in
Anthropic's shape and words, which its SDKs turn into their exceptions, and whole answers that are
put together from a stream, because the engine notices a vanished client only while it streams.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec

from runnerd.api.anthropic.answers import CountedTokens, StreamedMessage, WholeMessage
from runnerd.api.anthropic.chats import MessageOfChat, chat_request
from runnerd.api.anthropic.requests import engine_request, read_asked
from runnerd.relay.body import Body, streamed
from runnerd.relay.dialect import TranslatedRequest
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
_TOO_LONG = re.compile(r"request \((\d+) tokens\) exceeds the available context size \((\d+)")


@dataclass(frozen=True, slots=True)
class AnthropicDialect:
    """`messages`, or with `counts` its companion that counts tokens."""

    counts: bool = False
    origin: str = _ORIGIN
    shapes_errors: bool = True
    id_header: bytes | None = b"request-id"

    def read(self, body: Body) -> TranslatedRequest:
        """Return what a request asks for.  Raises errors.ClientError."""
        asked = read_asked(body)
        sent = engine_request(body, asked)
        if self.counts:
            return TranslatedRequest("messages/count_tokens", sent, CountedTokens())
        answer = StreamedMessage() if asked.stream else WholeMessage()
        if asked.formatted:
            chat = chat_request(sent)
            return TranslatedRequest("chat/completions", chat, MessageOfChat(asked.model, answer))
        return TranslatedRequest(
            "messages", sent if asked.stream else b"".join(streamed(sent)), answer
        )

    def read_unseen(self, body: Body) -> TranslatedRequest:
        """Return the same: nothing here depends on the model."""
        return self.read(body)

    def error(self, message: str, status: int) -> bytes:
        """Return an error's body."""
        kind = _KINDS.get(status, "api_error")
        if found := _TOO_LONG.search(message):  # clients look for these words, and shorten
            message = "prompt is too long: {} tokens > {} maximum".format(*found.groups())
        return msgspec.json.encode({"type": "error", "error": {"type": kind, "message": message}})

    def broken(self, message: str) -> bytes:
        """Return the event that ends a stream with an error."""
        return b"event: error\ndata: %s\n\n" % self.error(message, 500)


def routes() -> dict[str, Route]:
    """Return the routes by their paths."""
    found = {}
    for prefix in _PREFIXES:
        for name, counts in (("messages", False), ("messages/count_tokens", True)):
            route = Route(OPERATIONS[name], dialect=AnthropicDialect(counts))
            found[f"{prefix}/v1/{name}"] = route
    return found
