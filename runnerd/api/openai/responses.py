"""OpenAI's responses as a dialect: the engine speaks them, but keeps nothing and numbers nothing.

Added here: `previous_response_id`, `conversation` and `store` (what is told as complete is on the
disk, or says that it is not stored), the members of events and answers that OpenAI's
clients count on (`sequence_number`, `output_index`, what was asked for), and a response that was
cut by `max_output_tokens`, the client's or the owner's, is told as incomplete.  The engine is
always asked for a stream, because only then it notices a client that leaves.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import msgspec

from runnerd.access import Principal
from runnerd.api.openai.items import engine_items, given_items, named_items
from runnerd.api.openai.kept_items import with_ids
from runnerd.errors import ClientError, RunnerdError
from runnerd.models.catalog import Model
from runnerd.relay.body import Body, json_object
from runnerd.relay.dialect import Limit, TranslatedRequest, UnreadyRequest
from runnerd.relay.events import EVENT_STREAM, Events, broken_off, written
from runnerd.relay.operations import OPERATIONS
from runnerd.relay.request_rewrites.tool_choice import choice_of
from runnerd.relay.routes import V1_PREFIXES, Route
from runnerd.sessions.kept_responses import (
    History,
    KeptResponses,
    Response,
    check_one_origin,
    new_id,
)

log = logging.getLogger(__name__)

_COMPLETED = "response.completed"
_PARTS = ("response.content_part.", "response.output_text.", "response.reasoning_text.")
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
        response = _Response(asked, keep, limit, streams=streams)
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


class _Response:
    """One response's events, completed."""

    content_type = EVENT_STREAM

    def __init__(
        self,
        asked: dict[str, Any],
        keep: Callable[[dict[str, Any]], Awaitable[bool]] | None,
        limit: Limit,
        *,
        streams: bool,
    ) -> None:
        self.streams = streams
        if not streams:
            self.content_type = b"application/json"
        self._asked = asked
        self._keep = keep
        self._last: dict[str, Any] | None = None  # the event that tells the final response
        self._limit = limit
        self._id = new_id("resp")
        self._created = int(time.time())
        self._events = Events()
        self._numbers = itertools.count()
        self._output = -1  # index of the item that is being written

    def feed(self, data: bytes) -> bytes:
        return b"".join(
            self._event(each) for event in self._events.feed(data) for each in _unfolded(event)
        )

    def end(self) -> bytes:
        """Return the whole response, or nothing after a stream.  Raises StreamError."""
        if self._last is None:
            raise broken_off()
        if self._keep is not None:  # it did not come to that
            self._not_kept()
        if self.streams:
            return self._numbered(self._last)
        return msgspec.json.encode(self._last["response"])

    async def keep(self) -> None:
        """Keep the response before it is told; where that fails it says that it is not stored."""
        keep, self._keep = self._keep, None
        if keep is None or self._last is None:
            return
        try:
            kept = await keep(self._last["response"])
        except RunnerdError as error:
            log.warning("response %s is not kept: %s", self._id, error.message)
            kept = False
        if not kept:
            self._not_kept()

    def _not_kept(self) -> None:
        assert self._last is not None
        self._last["response"]["store"] = False

    def _event(self, event: dict[str, Any]) -> bytes:
        kind = str(event.get("type"))
        if kind == "response.output_item.added":
            self._output += 1
        if kind.startswith("response.output_") or "item" in event or "item_id" in event:
            event.setdefault("output_index", max(0, self._output))
        if kind.startswith(_PARTS):
            event.setdefault("content_index", 0)
        if kind in ("response.output_text.delta", "response.output_text.done"):
            event.setdefault("logprobs", [])
        if kind == "response.content_part.added":
            event["part"] = {"annotations": [], "logprobs": [], **event["part"]}
        if isinstance(event.get("response"), dict):
            event["response"] = self._completed(event["response"])
            if kind == _COMPLETED:
                final = event["response"]
                final["output_text"] = _spoken(final["output"])
                event["type"] = f"response.{final['status']}"
                self._last = event
                return b""
        return self._numbered(event) if self.streams else b""

    def _numbered(self, event: dict[str, Any]) -> bytes:
        event["sequence_number"] = next(self._numbers)
        return written(event, str(event.get("type")))

    def _completed(self, response: dict[str, Any]) -> dict[str, Any]:
        """Return the response with the members that the engine leaves out."""
        usual: dict[str, Any] = {
            "created_at": self._created,
            "error": None, "incomplete_details": None, "instructions": None, "metadata": {},
            "conversation": None, "output": [], "parallel_tool_calls": True,
            "tool_choice": "auto", "tools": [],
        }  # fmt: skip
        whole = usual | response | self._asked | {"id": self._id}
        limit, used = self._limit.tokens, whole.get("usage") or {}
        if used:
            used.setdefault("output_tokens_details", {"reasoning_tokens": 0})
        if limit is not None and 0 < limit <= used.get("output_tokens", 0):
            whole["status"] = "incomplete"
            whole["incomplete_details"] = {"reason": "max_output_tokens"}
        return whole


def _unfolded(event: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield an event, after the end of a call's arguments or of a thought, which the engine leaves
    out.
    """
    item = event["item"] if event.get("type") == "response.output_item.done" else {}
    if item.get("type") == "function_call":
        told = {"item_id": item["id"], "name": item["name"], "arguments": item["arguments"]}
        yield {"type": "response.function_call_arguments.done", **told}
    if item.get("type") == "reasoning" and item.get("content"):
        told = {"item_id": item["id"], "text": item["content"][0]["text"]}
        yield {"type": "response.reasoning_text.done", **told}
    yield event


def _spoken(output: list[Any]) -> str:
    """All that was said, as Docker Model Runner tells it beside the output."""
    parts = [part for item in output for part in item.get("content") or ()]
    return "".join(part["text"] for part in parts if part.get("type") == "output_text")


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
