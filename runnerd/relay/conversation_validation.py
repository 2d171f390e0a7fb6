"""The form of conversations, in the engine's terms: chats, Anthropic's messages, and responses.

Only what llama-server refuses whatever the model is: turns, parts and tools that are not what they
are said to be, and media for a model without the sense for them.  The order of roles is not judged:
a template decides it, and the owner's flags.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from runnerd.errors import ClientError
from runnerd.relay.known_model import KnownModel

LONGEST_JUDGED = 2**20
"""Bytes of a member that are looked into; the engine reads larger ones."""

NO_TOKENS = "an input without tokens has no embedding"
_FORMATS = ("text", "json_object", "json_schema", "")
_SENSES = {
    "image_url": ("vision", "image"),
    "input_audio": ("audio", "audio"),
    "input_video": ("vision", "video"),
    "video_url": ("vision", "video"),
}


class _Part(Struct):
    type: str
    text: Any = UNSET


class _Function(Struct):
    name: str


class _Call(Struct):
    type: Literal["function", "custom"] | UnsetType = UNSET
    function: _Function | UnsetType = UNSET
    custom: _Function | UnsetType = UNSET
    id: str | UnsetType = UNSET


class _Turn(Struct):
    role: str
    content: str | list[_Part] | UnsetType | None = UNSET
    tool_calls: list[_Call] | dict[str, _Call] | UnsetType | None = UNSET
    name: str | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET
    tool_call_id: str | UnsetType = UNSET


class _Declared(Struct):
    name: str
    description: str | UnsetType = UNSET


class _Tool(Struct):
    type: Literal["function"]
    function: _Declared


class _Chat(Struct):
    """What a chat says besides its messages, as far as its form is judged with theirs."""

    chat_template_kwargs: Any = None
    response_format: Any = None
    tools: list[_Tool] | None = None
    tool_choice: Any = None
    grammar: Any = UNSET
    json_schema: Any = None
    continue_final_message: Any = None
    add_generation_prompt: Any = None
    logprobs: Any = None
    top_logprobs: Any = None
    stream: Any = None


class _Block(Struct):
    type: str | None = None
    text: Any = UNSET
    content: Any = None
    source: Any = None


class _Message(Struct):  # Anthropic's
    role: str
    content: str | list[_Block] | UnsetType | None = UNSET


class _Item(Struct):  # of responses
    type: str | None = None
    role: str | None = None
    content: Any = None
    call_id: Any = None
    name: Any = None
    arguments: Any = None
    output: Any = None


class _Response(Struct):
    chat_template_kwargs: Any = None
    response_format: Any = None
    tools: Any = None


def check_chat(messages: Raw | UnsetType, body: bytes, known: KnownModel) -> None:
    """Check a chat's messages, and what depends on its template.  Raises errors.ClientError."""
    for turn in listed(messages, "messages", _Turn):
        where = f"a message of {turn.role[:40]!r}"
        if turn.content is UNSET and (turn.role != "assistant" or turn.tool_calls is UNSET):
            raise wrong("messages", f"{where} must have content")
        for part in turn.content if isinstance(turn.content, list) else ():
            _check_part(part, where, known)
        calls = turn.tool_calls if isinstance(turn.tool_calls, list) else ()
        if any(call.function is UNSET and call.custom is UNSET for call in calls):
            raise wrong("messages", f"{where} has a tool call without a function")
    said = msgspec.json.decode(body, type=_Chat)
    _check_common(said.chat_template_kwargs, said.response_format)
    _check_combinations(said)


def check_parts(parts: Any, name: str, known: KnownModel) -> None:
    """Check the parts of a text to embed: one that is none of the known kinds is refused."""
    if not isinstance(parts, list):
        raise wrong(name, f"the content of {name} must be an array of parts")
    empty = True
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind != "text":
            _check_kind(str(kind), f"{name} has", name, known)
        if kind != "text" or part.get("text"):
            empty = False
    if empty and not known.embeds_empty:
        raise wrong(name, NO_TOKENS)


def check_messages(messages: Raw | UnsetType, body: bytes, known: KnownModel) -> None:
    """Check Anthropic's messages."""
    for message in listed(messages, "messages", _Message):
        if message.content is UNSET and message.role != "assistant":
            raise wrong("messages", f"a message of {message.role[:40]!r} must have content")
        for block in message.content if isinstance(message.content, list) else ():
            if block.type == "text" and not isinstance(block.text, str):
                raise wrong("messages", "a block of type text has no text")
            if not known.perceives("vision") and _shows(block):
                raise wrong("messages", _senseless("image"))
    _check_common(msgspec.json.decode(body, type=_Response).chat_template_kwargs, None)


def check_input(raw: Raw | UnsetType, body: bytes, known: KnownModel) -> None:
    """Check the input of a response, and its tools."""
    if not isinstance(raw, Raw) or bytes(memoryview(raw)[:1]) != b'"':
        for item in listed(raw, "input", _Item):
            _check_item(item, known)
    said = msgspec.json.decode(body, type=_Response)
    _check_common(said.chat_template_kwargs, said.response_format)
    for tool in said.tools if isinstance(said.tools, list) else ():
        functional = isinstance(tool, dict) and tool.get("type") == "function"
        if functional and not isinstance(tool.get("name"), str):
            raise wrong("tools", "a tool of type function needs a name")


def listed(raw: Raw | UnsetType, name: str, kind: Any) -> list[Any]:
    """Return a member that is a list of something; a large one is not looked into."""
    if not isinstance(raw, Raw):
        raise wrong(name, f"{name} is required")
    if len(raw) > LONGEST_JUDGED and bytes(memoryview(raw)[:1]) == b"[":
        return []
    try:
        return list(msgspec.json.decode(raw, type=list[kind]))
    except msgspec.ValidationError as error:
        raise wrong(name, f"{name}: {error}") from error


def wrong(name: str, message: str) -> ClientError:
    """Return the error for a member."""
    return ClientError(message, param=name)


def _check_part(part: _Part, where: str, known: KnownModel) -> None:
    if part.type != "text":
        _check_kind(part.type, f"{where} has", "messages", known)
    elif not isinstance(part.text, str):
        raise wrong("messages", f"{where} has a part of type text without a text")


def _check_kind(kind: str, where: str, name: str, known: KnownModel) -> None:
    """Refuse a part of a kind that engines do not know, or that this model has no sense for."""
    if kind not in _SENSES:
        kinds = ", ".join(("text", *_SENSES))
        raise wrong(name, f"{where} a part of type {kind[:40]!r}; there are: {kinds}")
    sense, shown = _SENSES[kind]
    if not known.perceives(sense):
        raise wrong(name, _senseless(shown))


def _senseless(shown: str) -> str:
    return f"this model does not support {shown} input: it has no projector (mmproj) for it"


def _check_common(kwargs: Any, format: Any) -> None:
    if isinstance(kwargs, dict) and isinstance(kwargs.get("enable_thinking"), str):
        raise wrong("chat_template_kwargs", "enable_thinking must be true or false")
    kind = format.get("type") if isinstance(format, dict) else None
    if isinstance(kind, str) and kind not in _FORMATS:
        raise wrong(
            "response_format", "response_format.type must be text, json_object or json_schema"
        )


def _check_combinations(said: _Chat) -> None:
    """Refuse members that do not go with each other."""
    called = bool(said.tools) and said.tool_choice != "none"
    if called and said.grammar is not UNSET:
        raise wrong("grammar", "grammar does not go with tools")
    if said.json_schema is not None and isinstance(said.grammar, str) and said.grammar:
        raise wrong("grammar", "grammar does not go with json_schema")
    if said.logprobs is True and said.tools and said.stream is True:
        raise wrong("logprobs", "llama-server tells no logprobs of responses with tools")
    if said.top_logprobs is not None and not said.logprobs:
        raise wrong("top_logprobs", "top_logprobs needs logprobs to be true")
    continues = said.continue_final_message in (True, "content", "reasoning_content")
    if continues and said.add_generation_prompt is not False:
        raise wrong(
            "continue_final_message", "continue_final_message needs add_generation_prompt: false"
        )


def _shows(block: _Block) -> bool:
    """Return whether a block, or a tool's result, has an image that the engine would look at."""
    if block.type == "image":
        return isinstance(block.source, dict) and block.source.get("type") == "base64"
    if block.type != "tool_result" or not isinstance(block.content, list):
        return False
    inner = (part for part in block.content if isinstance(part, dict))
    return any(_shows(_Block(part.get("type"), source=part.get("source"))) for part in inner)


def _check_item(item: _Item, known: KnownModel) -> None:
    if item.type == "function_call":
        if not all(isinstance(each, str) for each in (item.call_id, item.name, item.arguments)):
            raise wrong("input", "a function_call needs call_id, name and arguments")
    elif item.type == "function_call_output":
        if not isinstance(item.call_id, str):
            raise wrong("input", "a function_call_output needs a call_id")
        for part in item.output if isinstance(item.output, list) else ():
            _check_shown(part, known)
    elif item.type in (None, "message"):
        speaks = item.role in ("user", "assistant", "system", "developer")
        if not speaks or not isinstance(item.content, str | list):
            raise wrong("input", "a message of the input needs a role and content")
        for part in item.content if isinstance(item.content, list) else ():
            (_check_said if item.role == "assistant" else _check_shown)(part, known)


def _check_said(part: Any, known: KnownModel) -> None:
    kind, text = _kind_and_text(part)
    if kind not in ("output_text", "input_text") or not isinstance(text, str):
        raise wrong("input", "what the assistant said must be parts of type output_text")


def _check_shown(part: Any, known: KnownModel) -> None:
    kind, text = _kind_and_text(part)
    if kind == "input_text" and isinstance(text, str):
        return
    if kind != "input_image" or not isinstance(part.get("image_url"), str):
        raise wrong("input", "parts must be input_text with a text, or input_image with image_url")
    if not known.perceives("vision"):
        raise wrong("input", _senseless("image"))


def _kind_and_text(part: Any) -> tuple[object, object]:
    return (part.get("type"), part.get("text")) if isinstance(part, dict) else (None, None)
