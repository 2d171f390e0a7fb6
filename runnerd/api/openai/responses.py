"""OpenAI's responses as a dialect: the engine speaks them, but keeps nothing and numbers nothing.

Added here: `previous_response_id`, `conversation` and `store` (what is told as complete is on the
disk, or says that it is not stored), the members of events and answers that OpenAI's
clients count on (`sequence_number`, `output_index`, what was asked for), and a response that was
cut by `max_output_tokens`, the client's or the owner's, is told as incomplete.  The engine is
always asked for a stream, because only then it notices a client that leaves.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import msgspec

from runnerd.access import Principal
from runnerd.api.openai.completed_responses import CompletedResponse
from runnerd.api.openai.items import engine_items, given_items, named_items
from runnerd.api.openai.kept_items import with_ids
from runnerd.errors import ClientError
from runnerd.models.model import Model
from runnerd.relay.body import Body, json_object
from runnerd.relay.dialect import Limit, TranslatedRequest, UnreadyRequest
from runnerd.relay.operations import OPERATIONS
from runnerd.relay.request_rewrites.tool_choice import choice_of
from runnerd.relay.routes import V1_PREFIXES, Route
from runnerd.sessions.kept_responses import (
    History,
    KeptResponses,
    Response,
    check_one_origin,
)

_ECHOED = (
    "instructions", "max_output_tokens", "metadata", "parallel_tool_calls", "reasoning",
    "model", "temperature", "text", "tool_choice", "tools", "top_p", "user",
)  # fmt: skip
_UNSENT = ("metadata", "text", "top_logprobs")  # what the engine does not take, or not so
_REFUSED = {  # rather than answered without what they stand for
    "prompt": "no prompts are kept here; send the text as instructions and input",
}


@dataclass(frozen=True, slots=True)
class Origin:
    """What a request goes on from, by ids."""

    previous: str | None
    conversation: str | None


@dataclass(frozen=True, slots=True)
class ResponsesRequest:
    """A request that was read, with what it goes on from; `owner` is whose responses are kept."""

    kept: KeptResponses
    owner: str
    document: dict[str, Any]
    origin: Origin
    history: History = field(default_factory=History)

    @property
    def reference(self) -> str:
        """The model's name."""
        return str(self.document["model"])

    async def gathered(self, named: list[str]) -> ResponsesRequest:
        """The request with what it goes on from, and the items that it only names.

        Raises errors.ResponseNotFound, ConversationNotFound.
        """
        origin = self.origin
        history = await self.kept.history(self.owner, origin.previous, origin.conversation, named)
        return replace(self, history=history)

    def translated(self, model: Model) -> TranslatedRequest:
        """The request in the engine's terms.  Raises errors.ClientError."""
        document = dict(self.document)
        for name, why in _REFUSED.items():
            if name in document:
                raise ClientError(f"{name}: {why}", param=name)
        store = document.pop("store", None) is not False
        for name in ("previous_response_id", "conversation"):
            document.pop(name, None)
        streams = document.get("stream") is True
        given = given_items(document.get("input"), self.history.named.__getitem__)
        items = [*self.history.items, *given]
        asked = {name: document[name] for name in _ECHOED if name in document}
        asked |= {"previous_response_id": self.origin.previous, "store": store}
        if self.origin.conversation is not None:
            asked["conversation"] = {"id": self.origin.conversation}
        limit = Limit(_whole(document.get("max_output_tokens")))
        keep = None
        if store or self.origin.conversation is not None:
            keep = partial(self._keep, given, store)
        response = CompletedResponse(asked, keep, limit, streams=streams)
        sent = document | {"input": engine_items(items), "stream": True}
        sent |= _chosen_tools(document) | _format(document.get("text"))
        for name in _UNSENT:
            sent.pop(name, None)
        body = msgspec.json.encode(sent)
        return TranslatedRequest(
            OPERATIONS["responses"],
            body,
            response,
            limit=limit,
            before_end=None if keep is None else response.keep,
        )

    async def _keep(self, given: list[Any], stored: bool, document: dict[str, Any]) -> bool:
        """Keep a response; whether it was.  Raises what the database cannot do."""
        origin = self.origin
        response = Response(
            document["id"],
            self.owner,
            origin.previous,
            origin.conversation,
            with_ids(given),
            document | {"output": with_ids(document["output"])},
            stored,
        )
        return await self.kept.keep(response)


@dataclass(frozen=True, slots=True)
class ResponsesDialect:
    """`POST responses`."""

    kept: KeptResponses
    origin: str | None = None

    def read(self, body: Body, principal: Principal) -> ResponsesRequest | UnreadyRequest:
        """Decode a request's body.  Raises errors.ClientError."""
        document = {k: value for k, value in json_object(body).items() if value is not None}
        if not document.get("model"):
            raise ClientError("model is required", param="model")
        if not isinstance(document["model"], str):
            raise ClientError("model must be a string", param="model")
        origin, named = _origin(document), named_items(document.get("input"))
        request = ResponsesRequest(self.kept, principal.id, document, origin)
        if origin.previous is None and origin.conversation is None and not named:
            return request
        return UnreadyRequest(document.get("stream") is True, partial(request.gathered, named))


def _origin(document: dict[str, Any]) -> Origin:
    """What a request goes on from.  Raises errors.ClientError."""
    previous, conversation = document.get("previous_response_id"), document.get("conversation")
    check_one_origin(previous, conversation)
    if isinstance(conversation, dict):
        conversation = conversation.get("id", 0)
    for name, value in (("previous_response_id", previous), ("conversation", conversation)):
        if value is not None and not isinstance(value, str):
            raise ClientError(f"{name} must be a string", param=name)
    return Origin(previous, conversation)


def routes(kept: KeptResponses) -> dict[str, Route]:
    """Return the routes by their paths."""
    route = Route(OPERATIONS["responses"], dialect=ResponsesDialect(kept))
    # Docker Model Runner has it without a prefix, too.
    return {f"{prefix}/responses": route for prefix in ("", *V1_PREFIXES)}


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _chosen_tools(document: dict[str, Any]) -> dict[str, Any]:
    """Return the tools that may be called, and how."""
    tools = document.get("tools", [])
    if not isinstance(tools, list):
        raise ClientError("tools must be a list", param="tools")
    choice = choice_of(document.get("tool_choice"))
    return {"tools": choice.of(tools), "tool_choice": choice.word}


def _format(text: object) -> dict[str, Any]:
    """Return how the text is to be formatted, as the engine's chats are told it."""
    format = text.get("format") if isinstance(text, dict) else None
    if not isinstance(format, dict):
        return {}
    if format.get("type") != "json_schema":
        return {"response_format": {"type": format.get("type")}}
    schema = {name: format[name] for name in ("name", "schema", "strict") if name in format}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}
