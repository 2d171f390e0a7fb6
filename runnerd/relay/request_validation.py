"""What can be said of a request without its engine: judged before one is started for it.

A request that waits for a runner may cost a load, and an eviction; one that no engine would take
costs neither.  Only what every engine refuses is refused here, by its form: members that are
missing or of a wrong type.  Where a runner is ready its engine judges, and nothing is looked at
twice.  What only the engine can say stays with it: whether a template knows a role or an order of
roles, whether grammars and schemas can be used, how long a prompt is in tokens, how many answers
fit its slots, whether tokens are in the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from runnerd.errors import ClientError
from runnerd.relay.body import UNDECODABLE, undecodable

_DEEPEST = 2**20  # bytes of a member that are looked into; the engine reads larger ones

_FORMATS = ("text", "json_object", "json_schema", "")
_ENCODINGS = ("float", "base64")

Number = float | bool | None
_Limit = Annotated[float, Meta(ge=-1, lt=2**31)] | bool | None


class _Parameters(Struct):
    """What completions may say besides their prompt, as far as engines refuse other types."""

    temperature: Number = None
    top_p: Number = None
    top_k: Number = None
    min_p: Number = None
    seed: Number = None
    presence_penalty: Number = None
    frequency_penalty: Number = None
    repeat_penalty: Number = None
    max_tokens: _Limit = None
    max_completion_tokens: _Limit = None
    n_predict: _Limit = None
    n: Annotated[float, Meta(ge=1)] | bool | None = None
    logprobs: Number = None
    echo: bool | None = None
    stop: Any = None
    json_schema: dict[str, Raw] | None = None
    tools: list[dict[str, Raw]] | None = None
    top_logprobs: Any = None
    response_format: Any = None


class _Part(Struct):
    type: str
    text: Any = UNSET


class _Turn(Struct):
    role: str
    content: str | list[_Part] | UnsetType | None = UNSET
    tool_calls: Any = UNSET


class _Block(Struct):
    type: str | None = None
    text: Any = UNSET


class _Message(Struct):  # Anthropic's
    role: str
    content: str | list[_Block] | UnsetType | None = UNSET


class _Item(Struct):  # of responses
    type: str | None = None
    role: str | None = None
    content: Any = None


_Mixed = list[str | int]
_Several = list[str | int | _Mixed | dict[str, Raw]]
_Prompt = str | int | _Several | dict[str, Raw]


class _Members(Struct):
    """The members that requests cannot do without."""

    messages: Raw | UnsetType = UNSET
    prompt: Raw | UnsetType = UNSET
    input: Raw | UnsetType = UNSET
    content: Raw | UnsetType = UNSET
    documents: Raw | UnsetType = UNSET
    texts: Raw | UnsetType = UNSET
    query: Raw | UnsetType = UNSET
    tokens: Raw | UnsetType = UNSET
    encoding_format: Any = None


def validate_request(operation: str, body: bytes, capabilities: Iterable[str] | None) -> None:
    """Refuse a request, in the engine's terms, that no engine would take.

    `capabilities` are the model's, None where nobody knows.  Raises errors.ClientError.
    """
    check = _CHECKS.get(operation)
    if check is None:
        return
    try:
        check(msgspec.json.decode(body, type=_Members), body, capabilities)
    except UNDECODABLE as error:
        raise undecodable(error) from error


def _check_chat(members: _Members, body: bytes, capabilities: Iterable[str] | None) -> None:
    _check_template(members, body, capabilities)
    said = _check_parameters(body)
    if said.top_logprobs is not None and not said.logprobs:
        raise _wrong("top_logprobs", "top_logprobs needs logprobs to be true")
    form = said.response_format
    kind = form.get("type") if isinstance(form, dict) else None
    if isinstance(kind, str) and kind not in _FORMATS:
        raise _wrong(
            "response_format", "response_format.type must be text, json_object or json_schema"
        )


def _check_template(members: _Members, body: bytes, capabilities: Iterable[str] | None) -> None:
    for turn in _listed(members.messages, "messages", _Turn):
        where = f"a message of {turn.role[:40]!r}"
        if turn.content is UNSET and (turn.role != "assistant" or turn.tool_calls is UNSET):
            raise _wrong("messages", f"{where} must have content")
        for part in turn.content if isinstance(turn.content, list) else ():
            if part.type == "text" and not isinstance(part.text, str):
                raise _wrong("messages", f"{where} has a part of type text without a text")
            if part.type == "image_url" and "vision" not in (capabilities or ("vision",)):
                raise _wrong(
                    "messages",
                    "this model does not support image input: it has no projector (mmproj)",
                )


def _check_messages(members: _Members, body: bytes, capabilities: Iterable[str] | None) -> None:
    for message in _listed(members.messages, "messages", _Message):
        if message.content is UNSET and message.role != "assistant":
            raise _wrong("messages", f"a message of {message.role[:40]!r} must have content")
        for block in message.content if isinstance(message.content, list) else ():
            if block.type == "text" and not isinstance(block.text, str):
                raise _wrong("messages", "a block of type text has no text")


def _check_completion(members: _Members, body: bytes, capabilities: Iterable[str] | None) -> None:
    _check_prompt(members.prompt, "prompt")
    _check_parameters(body)


def _check_infill(members: _Members, body: bytes, capabilities: Iterable[str] | None) -> None:
    _check_parameters(body)


def _check_embedding(members: _Members, body: bytes, capabilities: Iterable[str] | None) -> None:
    said = members.content if members.input is UNSET else members.input
    _check_prompt(said, "input")
    if isinstance(said, Raw) and len(said) <= _DEEPEST and [] in _parts(_decode_prompt(said)):
        raise _wrong("input", "an input without tokens has no embedding")
    encoding = members.encoding_format
    if isinstance(encoding, str) and encoding not in _ENCODINGS:
        raise _wrong("encoding_format", "encoding_format must be float or base64")


def _check_response(members: _Members, body: bytes, capabilities: Iterable[str] | None) -> None:
    if isinstance(members.input, Raw) and _first(members.input) == b'"':
        return
    for item in _listed(members.input, "input", _Item):
        if item.type not in (None, "message"):
            continue
        speaks = item.role in ("user", "assistant", "system", "developer")
        if not speaks or not isinstance(item.content, str | list):
            raise _wrong("input", "a message of the input needs a role and content")


def _check_ranking(members: _Members, body: bytes, capabilities: Iterable[str] | None) -> None:
    if not isinstance(members.query, Raw) or _first(members.query) != b'"':
        raise _wrong("query", "query must be a string")
    documents = members.texts if members.documents is UNSET else members.documents
    if not isinstance(documents, Raw) or _first(documents) != b"[":
        raise _wrong("documents", "documents must be an array of strings")
    if not _listed(documents, "documents", str) and len(documents) <= _DEEPEST:
        raise _wrong("documents", "documents must not be empty")


def _check_tokenize(members: _Members, body: bytes, capabilities: Iterable[str] | None) -> None:
    if isinstance(members.content, Raw) and _first(members.content) not in (b'"', b"["):
        raise _wrong("content", "content must be a string or an array")


def _check_detokenize(members: _Members, body: bytes, capabilities: Iterable[str] | None) -> None:
    if members.tokens is not UNSET:
        _listed(members.tokens, "tokens", float)


_CHECKS: dict[str, Callable[[_Members, bytes, Iterable[str] | None], None]] = {
    "chat/completions": _check_chat,
    "audio/transcriptions": _check_chat,
    "apply-template": _check_template,
    "messages": _check_messages,
    "messages/count_tokens": _check_messages,
    "completions": _check_completion,
    "infill": _check_infill,
    "responses": _check_response,
    "embeddings": _check_embedding,
    "rerank": _check_ranking,
    "reranking": _check_ranking,
    "tokenize": _check_tokenize,
    "detokenize": _check_detokenize,
}


_decode_prompt: Callable[[Raw], Any] = msgspec.json.Decoder(_Prompt).decode


def _check_parameters(body: bytes) -> _Parameters:
    said = msgspec.json.decode(body, type=_Parameters)
    if isinstance(said.stop, list) and not all(isinstance(text, str) for text in said.stop):
        raise _wrong("stop", "stop must be a string or an array of strings")
    return said


def _check_prompt(raw: Raw | UnsetType, name: str) -> None:
    if not isinstance(raw, Raw):
        raise _wrong(name, f"{name} is required")
    if len(raw) > _DEEPEST:
        return
    try:
        said: Any = _decode_prompt(raw)
    except msgspec.ValidationError as error:
        raise _wrong(name, f"{name}: {error}") from error
    if isinstance(said, int):
        raise _wrong(name, f"{name} must be a string, or an array of strings or tokens")
    if said == []:
        raise _wrong(name, f"{name} must not be empty")
    for part in _parts(said):
        if isinstance(part, dict) and "prompt_string" not in part:
            raise _wrong(name, f"an object in {name} needs a prompt_string")
        if isinstance(part, int) and part < 0:
            raise _wrong(name, f"{name} has a token below zero")


def _parts(said: Any) -> list[Any]:
    return said if isinstance(said, list) else [said]


def _first(raw: Raw) -> bytes:
    return bytes(memoryview(raw)[:1])


def _listed(raw: Raw | UnsetType, name: str, kind: Any) -> list[Any]:
    """Return a member that is a list of something; a large one is not looked into."""
    if not isinstance(raw, Raw):
        raise _wrong(name, f"{name} is required")
    if len(raw) <= _DEEPEST or _first(raw) != b"[":
        return list(_read(raw, name, kind))
    return []


def _read(raw: Raw, name: str, kind: Any) -> list[Any]:
    try:
        return list(msgspec.json.decode(raw, type=list[kind]))
    except msgspec.ValidationError as error:
        raise _wrong(name, f"{name}: {error}") from error


def _wrong(name: str, message: str) -> ClientError:
    return ClientError(message, param=name)
