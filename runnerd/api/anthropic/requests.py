"""Anthropic's requests in the engine's terms, where the engine does not understand its own route.

llama-server leaves out what it does not know, without a word: a document is not there for the
model, "none" of the tools may be called all the same, thinking goes on that was switched off.  In a
message with results of tools and a text it puts the text first, between a call and its result.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from runnerd.errors import ClientError
from runnerd.relay.body import UNDECODABLE, Body, json_object, undecodable
from runnerd.relay.request_rewrites.plain_images import plain_base64
from runnerd.relay.request_rewrites.tool_choice import Choice

_SPACE = re.compile(rb"\\[nrtu]|\s")  # as JSON writes it
_PIECE = 2**18  # bytes that are searched in one call, which other threads wait for
_READABLE = ("text", "content")  # kinds of sources of documents


class _Source(msgspec.Struct):
    type: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"")

    @property
    def has_spaces(self) -> bool:
        """Whether base64 comes in lines."""
        if self.type != "base64":
            return False
        data = memoryview(self.data)
        pieces = (data[at : at + _PIECE + 1] for at in range(0, len(data), _PIECE))
        return any(_SPACE.search(piece) for piece in pieces)


class _Block(msgspec.Struct):
    type: str | None = None
    source: _Source | str | None = None
    content: list[_Block] | dict[str, msgspec.Raw] | str | None = None


class _Message(msgspec.Struct):
    content: list[_Block] | str | None = None


class _Typed(msgspec.Struct):
    type: str | None = None


class _Config(msgspec.Struct):
    format: _Typed | None = None


class Asked(msgspec.Struct):
    """What of a request decides how it is passed on."""

    model: str = ""
    messages: list[_Message] = []
    stream: bool | None = None
    tool_choice: _Typed | None = None
    thinking: _Typed | None = None
    output_config: _Config | None = None
    output_format: _Typed | None = None

    @property
    def formatted(self) -> bool:
        """Whether the response is to follow a schema."""
        config = self.output_config
        return self.output_format is not None or bool(config and config.format)

    @property
    def forces(self) -> bool:
        """Whether the response has to be a call."""
        return self.tool_choice is not None and self.tool_choice.type in ("any", "tool")


_decode = msgspec.json.Decoder(Asked).decode


def read_asked(body: Body) -> Asked:
    """What is asked.  Raises errors.ClientError, for images by address too."""
    try:
        asked = _decode(body)
    except UNDECODABLE as error:
        raise undecodable(error) from error
    if not asked.messages:
        raise ClientError("messages: at least one message is required")
    for message in asked.messages:
        for block in _blocks(message):
            kind = block.source.type if isinstance(block.source, _Source) else None
            if block.type == "image" and kind == "url":
                raise ClientError("images must be sent inline (base64); the daemon fetches nothing")
            if block.type == "document" and kind not in _READABLE:
                raise ClientError("documents must be sent as text; the engine reads no files")
    return asked


def engine_request(body: Body, asked: Asked) -> bytes:
    """Return a request's body for the engine, the client's own wherever the engine understands it.

    Raises errors.ClientError.
    """
    choice = asked.tool_choice.type if asked.tool_choice else None
    still = asked.thinking is not None and asked.thinking.type == "disabled"
    tells = any(_is_told_otherwise(message) for message in asked.messages)
    if not (tells or still or choice in ("none", "tool")):
        return bytes(body)
    document = json_object(body)
    if tells:
        messages = document["messages"]
        document["messages"] = [told for message in messages for told in _told(message)]
    if still:
        kwargs = document.get("chat_template_kwargs")
        others = kwargs if isinstance(kwargs, dict) else {}
        document["chat_template_kwargs"] = {**others, "enable_thinking": False}
    if choice in ("none", "tool"):
        _choose(document)
    return msgspec.json.encode(document)


def _blocks(message: _Message | _Block) -> Iterator[_Block]:
    """Yield the blocks of a message, and those within them."""
    if isinstance(message.content, list):
        for block in message.content:
            yield block
            yield from _blocks(block)


def _is_told_otherwise(message: _Message) -> bool:
    kinds = [block.type for block in _blocks(message)]
    if "document" in kinds or "search_result" in kinds:
        return True
    if "image" in kinds and any(
        isinstance(block.source, _Source) and block.source.has_spaces for block in _blocks(message)
    ):
        return True
    outer = message.content if isinstance(message.content, list) else []
    return len({block.type == "tool_result" for block in outer}) == 2


def _told(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a message as the engine understands it: the results of tools go in front, alone."""
    content = message["content"]
    if not isinstance(content, list):
        yield message
        return
    blocks = [_text_of(block) for block in content]
    results = [block for block in blocks if block.get("type") == "tool_result"]
    others = [block for block in blocks if block.get("type") != "tool_result"]
    for part in (results, others):
        if part:
            yield {**message, "content": part}


def _text_of(block: dict[str, Any]) -> dict[str, Any]:
    """Return a block with the texts of documents and search results as what they are, texts, and
    with an image's base64 in one line.
    """
    if block.get("type") == "tool_result" and isinstance(block.get("content"), list):
        return {**block, "content": [_text_of(part) for part in block["content"]]}
    if block.get("type") == "image" and isinstance(block.get("source"), dict):
        data = block["source"].get("data")
        plain = plain_base64(data) if isinstance(data, str) else data
        return {**block, "source": {**block["source"], "data": plain}}
    if block.get("type") not in ("document", "search_result"):
        return block
    source = block.get("source")
    found = source.get("data") or source.get("content") if isinstance(source, dict) else None
    parts = found or block.get("content") or ""
    if isinstance(parts, str):
        parts = [{"type": "text", "text": parts}]
    told = parts if isinstance(parts, list) else []
    texts = [str(part.get("text", "")) for part in told if isinstance(part, dict)]
    titles = [block.get("title"), block.get("context"), source]
    named = [each for each in titles if isinstance(each, str)]
    return {"type": "text", "text": "\n".join([*named, *texts]) + "\n"}


def _choose(document: dict[str, Any]) -> None:
    """Leave the tools that may be called."""
    choice, tools = document.pop("tool_choice"), listed(document, "tools")
    document.pop("tools", None)
    if choice["type"] == "tool":
        chosen = Choice("required", (str(choice.get("name")),)).of(tools)
        document |= {"tools": chosen, "tool_choice": {**choice, "type": "any"}}


def listed(document: dict[str, Any], name: str) -> list[Any]:
    """Return a member that is a list, empty where it is absent.  Raises errors.ClientError."""
    value = document.get(name) or []
    if not isinstance(value, list):
        raise ClientError(f"{name} must be a list", param=name)
    return value
