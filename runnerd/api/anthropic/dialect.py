"""Anthropic's messages as a dialect of the relay.

The engine speaks this API itself, so most of it passes as it comes.  Whole responses are put
together from a stream, because the engine notices a vanished client only while it streams.
"""

from __future__ import annotations

from dataclasses import dataclass

from runnerd.access import Principal
from runnerd.api.anthropic.chats import MessageOfChat, chat_request
from runnerd.api.anthropic.errors import ANTHROPIC
from runnerd.api.anthropic.requests import Asked, engine_request, read_asked
from runnerd.api.anthropic.responses import CountedTokens, StreamedMessage, WholeMessage
from runnerd.errors import ClientError
from runnerd.models.model import Model
from runnerd.relay.body import Body, streamed
from runnerd.relay.dialect import TranslatedRequest
from runnerd.relay.operations import OPERATIONS
from runnerd.relay.routes import Route

_ORIGIN = "anthropic/messages"
_PREFIXES = ("", "/anthropic", "/engines", "/engines/llama.cpp")


@dataclass(frozen=True, slots=True)
class AnthropicRequest:
    """A request that was read; `counts`: only its tokens are to be counted."""

    body: Body
    asked: Asked
    counts: bool

    @property
    def reference(self) -> str:
        """The model's name."""
        return self.asked.model

    def translated(self, model: Model) -> TranslatedRequest:
        """The request in the engine's terms.  Raises errors.ClientError."""
        asked, sent = self.asked, engine_request(self.body, self.asked)
        if self.counts:
            return TranslatedRequest(OPERATIONS["messages/count_tokens"], sent, CountedTokens())
        response = StreamedMessage() if asked.stream else WholeMessage()
        if asked.formatted or asked.forces:
            chat = chat_request(sent)
            message = MessageOfChat(asked.model, response)
            return TranslatedRequest(OPERATIONS["chat/completions"], chat, message)
        body = sent if asked.stream else b"".join(streamed(sent))
        return TranslatedRequest(OPERATIONS["messages"], body, response)


@dataclass(frozen=True, slots=True)
class AnthropicDialect:
    """`messages`, or with `counts` its companion that counts tokens."""

    counts: bool = False
    origin: str = _ORIGIN

    def read(self, body: Body, principal: Principal) -> AnthropicRequest:
        """Decode a request's body.  Raises errors.ClientError."""
        asked = read_asked(body)
        if not asked.model:
            raise ClientError("model is required", param="model")
        return AnthropicRequest(body, asked, self.counts)


def routes() -> dict[str, Route]:
    """Return the routes by their paths."""
    found = {}
    for prefix in _PREFIXES:
        for name, counts in (("messages", False), ("messages/count_tokens", True)):
            dialect = AnthropicDialect(counts)
            route = Route(OPERATIONS[name], dialect=dialect, error_format=ANTHROPIC)
            found[f"{prefix}/v1/{name}"] = route
    return found
