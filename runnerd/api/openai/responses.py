"""OpenAI's responses as a dialect: the engine speaks them, but keeps nothing and numbers nothing.

Added here: `previous_response_id` and `store`, the members of events and answers that OpenAI's
clients count on (`sequence_number`, `output_index`, what was asked for), and a response that was
cut by `max_output_tokens`, the client's or the owner's, is told as incomplete.  The engine is
always asked for a stream, because only then it notices a client that leaves.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from runnerd.access import Principal
from runnerd.api.openai.items import engine_items, given_items
from runnerd.api.openai.response_store import ResponseStore
from runnerd.errors import ClientError
from runnerd.models.catalog import Model
from runnerd.relay.body import Body, json_object
from runnerd.relay.dialect import Limit, TranslatedRequest
from runnerd.relay.events import EVENT_STREAM, Events, broken_off, written
from runnerd.relay.operations import OPERATIONS
from runnerd.relay.request_rewrites.tool_choice import choice_of
from runnerd.relay.routes import V1_PREFIXES, Route

_COMPLETED = "response.completed"
_PARTS = ("response.content_part.", "response.output_text.", "response.reasoning_text.")
_ECHOED = (
    "instructions", "max_output_tokens", "metadata", "parallel_tool_calls", "reasoning",
    "model", "temperature", "text", "tool_choice", "tools", "top_p", "user",
)  # fmt: skip
_UNSENT = ("metadata", "text", "top_logprobs")  # what the engine does not take, or not so
_REFUSED = {  # rather than answered without what they stand for
    "conversation": "no conversations are kept here; go on with previous_response_id",
    "prompt": "no prompts are kept here; send the text as instructions and input",
}


@dataclass(frozen=True, slots=True)
class ResponsesRequest:
    """A request that was read; `owner` is whose kept responses it may go on from."""

    response_store: ResponseStore
    owner: str
    document: dict[str, Any]

    @property
    def reference(self) -> str:
        """The model's name."""
        return str(self.document["model"])

    def translated(self, model: Model) -> TranslatedRequest:
        """The request in the engine's terms.

        Raises errors.ClientError, errors.ResponseNotFound.
        """
        document = dict(self.document)
        for name, why in _REFUSED.items():
            if name in document:
                raise ClientError(f"{name}: {why}", param=name)
        store = document.pop("store", None) is not False
        previous = document.pop("previous_response_id", None)
        streams = document.get("stream") is True
        find = partial(self.response_store.item, self.owner)
        items = given_items(document.get("input"), find)
        if previous is not None:
            if not isinstance(previous, str):
                raise ClientError("previous_response_id must be a string")
            items = [*self.response_store.items(self.owner, previous), *items]
        asked = {name: document[name] for name in _ECHOED if name in document}
        asked |= {"previous_response_id": previous, "store": store}
        limit = Limit(_whole(document.get("max_output_tokens")))
        keep = partial(self.response_store.keep, self.owner) if store else None
        answer = _Response(asked, items, keep, limit, streams=streams)
        sent = document | {"input": engine_items(items), "stream": True}
        sent |= _chosen_tools(document) | _format(document.get("text"))
        for name in _UNSENT:
            sent.pop(name, None)
        body = msgspec.json.encode(sent)
        return TranslatedRequest(OPERATIONS["responses"], body, answer, limit=limit)


@dataclass(frozen=True, slots=True)
class ResponsesDialect:
    """`POST responses`."""

    response_store: ResponseStore
    origin: str | None = None

    def read(self, body: Body, principal: Principal) -> ResponsesRequest:
        """Decode a request's body.  Raises errors.ClientError."""
        document = {k: value for k, value in json_object(body).items() if value is not None}
        if not document.get("model"):
            raise ClientError("model is required", param="model")
        if not isinstance(document["model"], str):
            raise ClientError("model must be a string", param="model")
        return ResponsesRequest(self.response_store, principal.id, document)


def routes(response_store: ResponseStore) -> dict[str, Route]:
    """Return the routes by their paths."""
    route = Route(OPERATIONS["responses"], dialect=ResponsesDialect(response_store))
    # Docker Model Runner has it without a prefix, too.
    return {f"{prefix}/responses": route for prefix in ("", *V1_PREFIXES)}


class _Response:
    """One response's events, completed."""

    content_type = EVENT_STREAM

    def __init__(
        self,
        asked: dict[str, Any],
        items: list[Any],
        keep: Callable[[str, list[Any], dict[str, Any]], None] | None,
        limit: Limit,
        *,
        streams: bool,
    ) -> None:
        self.streams = streams
        if not streams:
            self.content_type = b"application/json"
        self._asked = asked
        self._items = items
        self._keep_response = keep
        self._limit = limit
        self._id = ResponseStore.new_id()
        self._created = int(time.time())
        self._events = Events()
        self._numbers = itertools.count()
        self._output = -1  # index of the item that is being written
        self._final: dict[str, Any] | None = None

    def feed(self, data: bytes) -> bytes:
        return b"".join(
            self._event(each) for event in self._events.feed(data) for each in _unfolded(event)
        )

    def end(self) -> bytes:
        """Return the whole response, or nothing after a stream.  Raises StreamError."""
        if self._final is None:
            raise broken_off()
        return b"" if self.streams else msgspec.json.encode(self._final)

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
                self._final = event["response"]
                self._final["output_text"] = _spoken(self._final["output"])
                kind = f"response.{self._final['status']}"
                self._keep(self._final)
        if not self.streams:
            return b""
        event |= {"type": kind, "sequence_number": next(self._numbers)}
        return written(event, kind)

    def _completed(self, response: dict[str, Any]) -> dict[str, Any]:
        """Return the response with the members that the engine leaves out."""
        usual: dict[str, Any] = {
            "created_at": self._created,
            "error": None, "incomplete_details": None, "instructions": None, "metadata": {},
            "output": [], "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
        }  # fmt: skip
        whole = usual | response | self._asked | {"id": self._id}
        limit, used = self._limit.tokens, whole.get("usage") or {}
        if used:
            used.setdefault("output_tokens_details", {"reasoning_tokens": 0})
        if limit is not None and 0 < limit <= used.get("output_tokens", 0):
            whole["status"] = "incomplete"
            whole["incomplete_details"] = {"reason": "max_output_tokens"}
        return whole

    def _keep(self, response: dict[str, Any]) -> None:
        if self._keep_response is not None:
            self._keep_response(self._id, [*self._items, *response["output"]], response)


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
