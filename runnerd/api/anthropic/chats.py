"""Answers after a schema (`output_config.format`), and calls that must be made, as chats.

The engine's route for Anthropic's messages leaves the schema out without a word; its chats know
one, and a call that must be made is asked for by one (`relay/tool_plans`).  So these requests alone
are translated as a whole, and their responses back, event by event.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import msgspec

from runnerd.api.anthropic.requests import listed
from runnerd.api.anthropic.responses import StreamedMessage, WholeMessage
from runnerd.errors import ClientError
from runnerd.relay.body import json_object
from runnerd.relay.events import Events, broken_off, written

_SAME = ("model", "max_tokens", "temperature", "top_p", "top_k", "chat_template_kwargs")
_CHOICES: dict[object, str] = {"any": "required", "auto": "auto"}
_REASONS = {"length": "max_tokens", "tool_calls": "tool_use"}
_BEGINNINGS: dict[str, dict[str, Any]] = {
    "text": {"type": "text", "text": ""},
    "thinking": {"type": "thinking", "thinking": "", "signature": ""},
}


def chat_request(body: bytes) -> bytes:
    """Return a request for the engine's messages as one for its chats, with its schema.

    Raises errors.ClientError.
    """
    document = json_object(body)
    chat = {name: document[name] for name in _SAME if document.get(name) is not None}
    chat["messages"] = [*_system(document)]
    for message in document["messages"]:
        chat["messages"] += _turns(message)
    if tools := listed(document, "tools"):
        chat["tools"] = [_tool(tool) for tool in tools]
        choice = document.get("tool_choice") or {}
        chat["tool_choice"] = _CHOICES.get(choice.get("type"), "auto")
    if stop := document.get("stop_sequences"):
        chat["stop"] = stop
    if (form := _format(document)) is not None:
        schema = {"name": "format", "schema": form["schema"]}
        chat["response_format"] = {"type": "json_schema", "json_schema": schema}
    return msgspec.json.encode(chat | {"stream": True, "stream_options": {"include_usage": True}})


class MessageOfChat:
    """A chat's chunks as the events of a message, for a stream or a whole."""

    def __init__(self, model: str, inner: StreamedMessage | WholeMessage) -> None:
        self.streams = inner.streams
        self.content_type = inner.content_type
        self._inner = inner
        self._model = model
        self._chunks = Events()
        self._index = -1
        self._open = ""
        self._reason = ""
        self._usage: dict[str, Any] = {}
        self._begun = False

    def feed(self, data: bytes) -> bytes:
        """Take a piece of the chat's stream.  Raises StreamError."""
        chunks = self._chunks.feed(data)
        return self._inner.feed(b"".join(_sse(e) for chunk in chunks for e in self._events(chunk)))

    def end(self) -> bytes:
        """What comes last.  Raises StreamError when the stream broke off."""
        if not self._reason:
            raise broken_off()
        last = self._inner.feed(b"".join(map(_sse, self._ending())))
        return last + self._inner.end()

    def _events(self, chunk: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if not self._begun:
            self._begun = True
            yield {"type": "message_start", "message": self._beginning()}
        self._usage = chunk.get("usage") or self._usage
        for choice in chunk.get("choices") or []:
            delta = choice.get("delta") or {}
            if text := delta.get("reasoning_content"):
                yield from self._piece("thinking", {"type": "thinking_delta", "thinking": text})
            if text := delta.get("content"):
                yield from self._piece("text", {"type": "text_delta", "text": text})
            for call in delta.get("tool_calls") or []:
                yield from self._call(call)
            self._reason = choice.get("finish_reason") or self._reason

    def _beginning(self) -> dict[str, Any]:
        return {
            **{"id": uuid.uuid4().hex, "type": "message", "role": "assistant"},
            **{"content": [], "model": self._model, "stop_reason": None, "stop_sequence": None},
            "usage": {"input_tokens": 0, "output_tokens": 0},
        }

    def _piece(self, kind: str, delta: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if self._open != kind:
            yield from self._block(kind, _BEGINNINGS[kind])
        yield {"type": "content_block_delta", "index": self._index, "delta": delta}

    def _call(self, call: dict[str, Any]) -> Iterator[dict[str, Any]]:
        function, name = call.get("function") or {}, f"call {call.get('index', 0)}"
        if self._open != name:
            begun: dict[str, Any] = {
                "id": call.get("id"),
                "name": function.get("name"),
                "input": {},
            }
            yield from self._block(name, {"type": "tool_use", **begun})
        delta = {"type": "input_json_delta", "partial_json": function.get("arguments") or ""}
        yield {"type": "content_block_delta", "index": self._index, "delta": delta}

    def _block(self, kind: str, beginning: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Begin another block; the one before it, if any, has ended."""
        yield from self._closing()
        self._index += 1
        self._open = kind
        yield {"type": "content_block_start", "index": self._index, "content_block": beginning}

    def _closing(self) -> Iterator[dict[str, Any]]:
        if self._open:
            yield {"type": "content_block_stop", "index": self._index}

    def _ending(self) -> Iterator[dict[str, Any]]:
        yield from self._closing()
        reason = _REASONS.get(self._reason, "end_turn")
        delta = {"stop_reason": reason, "stop_sequence": None}
        yield {"type": "message_delta", "delta": delta, "usage": _counts(self._usage)}
        yield {"type": "message_stop"}


def _counts(usage: dict[str, Any]) -> dict[str, int]:
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
    return {
        "cache_read_input_tokens": cached,
        "input_tokens": usage.get("prompt_tokens", 0) - cached,
        "output_tokens": usage.get("completion_tokens", 0),
    }


def _sse(event: dict[str, Any]) -> bytes:
    return written(event, event["type"])


def _format(document: dict[str, Any]) -> dict[str, Any] | None:
    config = document.get("output_config")
    format = (config.get("format") if isinstance(config, dict) else None) or document.get(
        "output_format"
    )
    if format is None:
        return None
    if not isinstance(format, dict) or not isinstance(format.get("schema"), dict):
        raise ClientError("output_config.format needs a schema", param="output_config")
    return format


def _system(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    system = document.get("system")
    if not isinstance(system, str):
        system = "".join(_text(block) for block in listed(document, "system"))
    if system:
        yield {"role": "system", "content": system}


def _turns(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a message as turns of a chat: each result of a tool is one."""
    content = message.get("content")
    if not isinstance(content, list):
        yield {"role": message.get("role"), "content": content}
        return
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for block in content:
        by_kind.setdefault(str(block.get("type")), []).append(block)
    for block in by_kind.get("tool_result", []):
        said = block.get("content")
        parts = list(_parts(said)) if isinstance(said, list) else str(said or "")
        yield {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": parts}
    turn: dict[str, Any] = {"content": list(_parts(content)) or ""}
    if calls := [_call(block) for block in by_kind.get("tool_use", [])]:
        turn["tool_calls"] = calls
    if thoughts := by_kind.get("thinking"):
        turn["reasoning_content"] = "".join(str(each.get("thinking", "")) for each in thoughts)
    if any(turn.values()):
        yield {"role": message.get("role"), **turn}


def _parts(blocks: list[Any]) -> Iterator[dict[str, Any]]:
    """Yield the texts and images among blocks."""
    for block in blocks:
        if block.get("type") == "text":
            yield {"type": "text", "text": _text(block)}
        elif block.get("type") == "image":
            source = block.get("source") or {}
            address = f"data:{source.get('media_type')};base64,{source.get('data')}"
            yield {"type": "image_url", "image_url": {"url": address}}


def _text(block: Any) -> str:
    return str(block.get("text", "")) if isinstance(block, dict) else ""


def _call(block: dict[str, Any]) -> dict[str, Any]:
    arguments = msgspec.json.encode(block.get("input") or {}).decode()
    function = {"name": block.get("name"), "arguments": arguments}
    return {"id": block.get("id"), "type": "function", "function": function}


def _tool(tool: Any) -> dict[str, Any]:
    if not isinstance(tool, dict):
        raise ClientError("each tool must be an object", param="tools")
    function = {"name": tool.get("name"), "description": tool.get("description") or ""}
    parameters = tool.get("input_schema") or {"type": "object"}
    return {"type": "function", "function": {**function, "parameters": parameters}}
