"""Answers after the schema of a call (`request_rewrites/forced_calls`), turned into that call.

The text is collected until it is whole, and told as one call then: nothing of it is shown as text.
One that was cut by a limit is told as far as it came, with the reason that says so.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from runnerd.relay.dialect import Translation
from runnerd.relay.response_adapters.rewritten_events import RewrittenEvents

_NAMED = re.compile(r'\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*+")')
_WITH_ARGUMENTS = re.compile(r'\s*,\s*"arguments"\s*:\s*')


class Call(NamedTuple):
    """A call as it was told; its arguments are JSON unless it was cut."""

    name: str
    arguments: str

    @property
    def id(self) -> str:
        return f"call_{secrets.token_hex(12)}"


class _Told(msgspec.Struct):
    name: str
    arguments: msgspec.Raw


def call_in(text: str) -> Call | None:
    """The call that a text tells, whole or cut; None where not even its name is there."""
    try:
        told = msgspec.json.decode(text, type=_Told)
        return Call(told.name, bytes(told.arguments).decode())
    except (msgspec.MsgspecError, UnicodeError):
        pass
    found = _NAMED.search(text)
    if found is None:
        return None
    rest = _WITH_ARGUMENTS.match(text, found.end())
    try:
        name = msgspec.json.decode(found[1], type=str)
    except msgspec.MsgspecError:
        return None
    return Call(name, text[rest.end() :] if rest else "")


class ForcedCallOfChat(RewrittenEvents):
    """Of chunks of a chat."""

    def __init__(self, inner: Translation) -> None:
        super().__init__(inner)
        self._texts: dict[int, list[str]] = {}

    def rewritten(self, event: dict[str, Any]) -> Iterator[dict[str, Any]]:
        choices = event.get("choices") or []
        if not choices:
            yield event
        for choice in choices:
            delta = choice.get("delta") or {}
            texts = self._texts.setdefault(choice.get("index", 0), [])
            texts.append(delta.pop("content", None) or "")
            reason = choice.get("finish_reason")
            if reason and (call := call_in("".join(texts))) is not None:
                function = {"name": call.name, "arguments": call.arguments}
                told = {"index": 0, "id": call.id, "type": "function", "function": function}
                delta["tool_calls"] = [told]
                reason = "tool_calls" if reason == "stop" else reason
            if delta:
                said = {**choice, "delta": delta, "finish_reason": None}
                yield {**event, "choices": [said]} | ({"usage": None} if "usage" in event else {})
            if reason:
                yield {**event, "choices": [{**choice, "delta": {}, "finish_reason": reason}]}


class ForcedCallOfResponse(RewrittenEvents):
    """Of the events of a response."""

    _TEXT = ("response.content_part.", "response.output_text.")

    def __init__(self, inner: Translation) -> None:
        super().__init__(inner)
        self._items: dict[str, dict[str, Any]] = {}  # calls by the ids of the messages they were

    def rewritten(self, event: dict[str, Any]) -> Iterator[dict[str, Any]]:
        kind, item = str(event.get("type")), event.get("item") or {}
        if kind.startswith(self._TEXT):
            return
        if item.get("type") == "message":
            if kind == "response.output_item.done" and (call := _item_of(item)) is not None:
                self._items[str(item.get("id"))] = call
                yield from _told(call)
            return
        response = event.get("response")
        if isinstance(response, dict) and isinstance(response.get("output"), list):
            kept = [self._items.get(str(each.get("id")), each) for each in response["output"]]
            response["output"] = [each for each in kept if each.get("type") != "message"]
        yield event


def _item_of(message: dict[str, Any]) -> dict[str, Any] | None:
    parts = message.get("content") or []
    call = call_in("".join(str(part.get("text", "")) for part in parts))
    if call is None:
        return None
    id = call.id
    said = {"call_id": id, "name": call.name, "arguments": call.arguments}
    return {"id": f"fc_{id[5:]}", "type": "function_call", "status": "completed", **said}


def _told(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the events of a call."""
    begun = {**item, "arguments": "", "status": "in_progress"}
    yield {"type": "response.output_item.added", "item": begun}
    delta = {"delta": item["arguments"], "item_id": item["id"]}
    yield {"type": "response.function_call_arguments.delta", **delta}
    yield {"type": "response.output_item.done", "item": item}
