"""What can be said of a request without its engine: judged before one is started for it.

A request that waits for a runner may cost a load, and an eviction; one that no engine would take
costs neither.  Only what every engine refuses is refused here, by its form (members that are
missing, of a wrong type or out of bounds) or by what the model's header says.  Where a runner is
ready its engine judges, and nothing is looked at twice.  What only the engine can say stays with
it: whether a template knows a role or an order of roles, whether grammars and schemas can be used,
whether an image can be read, how long a prompt is in tokens, how many responses fit its slots.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from runnerd.errors import PayloadTooLarge
from runnerd.relay.body import UNDECODABLE, undecodable
from runnerd.relay.body_scan import count_prompts
from runnerd.relay.conversation_validation import (
    LONGEST_JUDGED,
    NO_TOKENS,
    check_chat,
    check_input,
    check_messages,
    check_parts,
    listed,
    wrong,
)
from runnerd.relay.engine_parameters import (
    check_message_parameters,
    check_parameters,
    check_response_parameters,
    check_text_parameters,
)
from runnerd.relay.known_model import UNKNOWN, KnownModel

_ENCODINGS = ("float", "base64")
_DOCUMENT = 3  # bytes of the shortest text of a list, with its comma

_Mixed = list[str | int]
_Prompt = str | int | list[str | int | _Mixed | dict[str, Any]] | dict[str, Any]


JUDGED_ALWAYS = frozenset({"tokenize", "detokenize", "rerank", "reranking"})
"""Operations of which the engine refuses numbers out of range as a failure of its own, or which
make much of little.
"""

MOST_RANKED = 16 * 2**20
"""Bytes of a query, for all documents that it is read with."""

MOST_TOKENIZED = 2**20
"""Bytes of a text of which only the tokens are wanted: they are told with twenty times as many."""


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


class _Extra(Struct):
    text: str
    filename: str | UnsetType = UNSET


class _Infill(Struct):
    input_prefix: str | UnsetType = UNSET
    input_suffix: str | UnsetType = UNSET
    input_extra: list[_Extra] | UnsetType = UNSET


class _Embedding(Struct):
    encoding_format: Any = UNSET
    embd_normalize: float | bool | UnsetType = UNSET
    dimensions: Any = None


class _Ranking(Struct):
    top_n: Any = None


def validate_request(operation: str, body: bytes, known: KnownModel = UNKNOWN) -> None:
    """Refuse a request, in the engine's terms, that no engine would take.

    Raises errors.ClientError.
    """
    check = _CHECKS.get(operation)
    if check is None:
        return
    try:
        check(msgspec.json.decode(body, type=_Members), body, known)
    except UNDECODABLE as error:
        raise undecodable(error) from error


def _check_chat(members: _Members, body: bytes, known: KnownModel) -> None:
    check_chat(members.messages, body, known)
    check_parameters(body)


def _check_template(members: _Members, body: bytes, known: KnownModel) -> None:
    check_chat(members.messages, body, known)


def _check_message(members: _Members, body: bytes, known: KnownModel) -> None:
    check_messages(members.messages, body, known)
    check_message_parameters(body)


def _check_counted(members: _Members, body: bytes, known: KnownModel) -> None:
    check_messages(members.messages, body, known)


def _check_completion(members: _Members, body: bytes, known: KnownModel) -> None:
    _check_prompt(members.prompt, "prompt", known)
    check_text_parameters(body)


def _check_infill(members: _Members, body: bytes, known: KnownModel) -> None:
    said = msgspec.json.decode(body, type=_Infill)
    for name in ("input_prefix", "input_suffix"):
        if getattr(said, name) is UNSET:
            raise wrong(name, f"{name} is required")
    check_text_parameters(body)


def _check_embedding(members: _Members, body: bytes, known: KnownModel) -> None:
    prompt = members.content if members.input is UNSET else members.input
    _check_prompt(prompt, "input", known, embeds=True)
    said = msgspec.json.decode(body, type=_Embedding)
    if said.encoding_format is not UNSET and said.encoding_format not in _ENCODINGS:
        raise wrong("encoding_format", "encoding_format must be float or base64")
    if known.dimensions and _is_number(said.dimensions) and said.dimensions > known.dimensions:
        raise wrong("dimensions", f"the model's embeddings have {known.dimensions} dimensions")


def _check_response(members: _Members, body: bytes, known: KnownModel) -> None:
    check_input(members.input, body, known)
    check_response_parameters(body)


def _check_ranking(members: _Members, body: bytes, known: KnownModel) -> None:
    if not isinstance(members.query, Raw) or _first(members.query) != b'"':
        raise wrong("query", "query must be a string")
    documents = members.documents
    if (documents is UNSET or _first(documents) != b"[") and members.texts is not UNSET:
        documents = members.texts
    if not isinstance(documents, Raw) or _first(documents) != b"[":
        raise wrong("documents", "documents must be an array of strings")
    if not listed(documents, "documents", str) and len(documents) <= LONGEST_JUDGED:
        raise wrong("documents", "documents must not be empty")
    times = len(documents) // _DOCUMENT + 1  # at most
    if times * len(members.query) > MOST_RANKED < len(members.query) * count_prompts(documents):
        raise PayloadTooLarge(
            f"a query of {len(members.query)} bytes for {count_prompts(documents)} documents is too"
            f" much: the model reads it with each of them, and {MOST_RANKED} bytes of it at most;"
            " rank fewer documents at a time",
            param="documents",
        )
    most = msgspec.json.decode(body, type=_Ranking).top_n
    if _is_number(most) and most < 0:
        raise wrong("top_n", "top_n must not be below zero")


def _check_tokenize(members: _Members, body: bytes, known: KnownModel) -> None:
    content = members.content
    if isinstance(content, Raw) and len(content) > MOST_TOKENIZED:
        raise PayloadTooLarge(
            f"content is larger than {MOST_TOKENIZED} bytes; have it tokenized in pieces",
            param="content",
        )
    if isinstance(content, Raw) and _first(content) == b"[":
        listed(content, "content", str | float | bool)
    elif isinstance(content, Raw) and _first(content) != b'"':
        raise wrong("content", "content must be a string or an array")


def _check_detokenize(members: _Members, body: bytes, known: KnownModel) -> None:
    if members.tokens is not UNSET:
        for token in listed(members.tokens, "tokens", float | bool):
            _check_token(token, "tokens", known)


_CHECKS: dict[str, Callable[[_Members, bytes, KnownModel], None]] = {
    "chat/completions": _check_chat,
    "audio/transcriptions": _check_chat,
    "apply-template": _check_template,
    "messages": _check_message,
    "messages/count_tokens": _check_counted,
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


def _check_prompt(
    raw: Raw | UnsetType, name: str, known: KnownModel, *, embeds: bool = False
) -> None:
    """Check one prompt or several: texts, tokens, both mixed, or objects that hold one."""
    if not isinstance(raw, Raw):
        raise wrong(name, f"{name} is required")
    if len(raw) > LONGEST_JUDGED:
        return
    for prompt in _prompts(_decoded_prompt(raw, name), name):
        if isinstance(prompt, dict):
            prompt = _within(prompt, name, known, embeds=embeds)
        if isinstance(prompt, list):
            for token in prompt:
                _check_token(token, name, known)
        if embeds and (prompt == [] or (prompt in ("", [""]) and not known.embeds_empty)):
            raise wrong(name, NO_TOKENS)


def _decoded_prompt(raw: Raw, name: str) -> Any:
    """A member that is a prompt or several, and not nothing."""
    try:
        said = _decode_prompt(raw)
    except msgspec.ValidationError as error:
        raise wrong(name, f"{name}: {error}") from error
    if isinstance(said, int):
        raise wrong(name, f"{name} must be a string, or an array of strings or tokens")
    if said == []:
        raise wrong(name, f"{name} must not be empty")
    return said


def _prompts(said: Any, name: str) -> Iterator[Any]:
    """Yield the prompts of a member; an array with a token in it is one prompt."""
    if not isinstance(said, list):
        yield said
    elif any(isinstance(part, int) for part in said):
        if not all(isinstance(part, int | str) for part in said):
            raise wrong(name, f"{name} mixes tokens with what is neither a token nor a string")
        yield said
    else:
        yield from said


def _within(prompt: dict[str, Any], name: str, known: KnownModel, *, embeds: bool) -> Any:
    """Return the prompt that an object holds, None where it is put together of parts."""
    if embeds and "content" in prompt:
        check_parts(prompt["content"], name, known)
        return None
    if "prompt_string" not in prompt:
        raise wrong(name, f"an object in {name} needs a prompt_string")
    if "multimodal_data" in prompt and not known.perceives("vision", "audio"):
        raise wrong(name, "this model takes no multimodal_data: it has no projector (mmproj)")
    inner = prompt["prompt_string"]
    if not isinstance(inner, str | list):
        raise wrong(name, "prompt_string must be a string")
    return inner


def _check_token(token: Any, name: str, known: KnownModel) -> None:
    if not _is_number(token):
        return
    if token < 0 or (known.vocabulary and token >= known.vocabulary):
        raise wrong(name, f"{name} has a token that the model's vocabulary has not")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _first(raw: Raw) -> bytes:
    return bytes(memoryview(raw)[:1])
