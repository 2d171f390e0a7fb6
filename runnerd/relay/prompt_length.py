"""Texts that cannot fit into a model's context, told by their bytes alone.

An engine takes a text apart before it counts the tokens, and nothing interrupts it meanwhile: a
megabyte costs it a third of a second and 70 MB.  No token of any vocabulary stands for as much as
`TOKEN_BYTES` throughout a text, so one with more bytes than that per token of the context never
gets to the engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import msgspec

from runnerd.errors import ContextExceeded
from runnerd.relay.body import UNDECODABLE, UNSAID, Inference, undecodable
from runnerd.relay.parsed_request import ParsedRequest

TOKEN_BYTES = 512
_WINDOW = 2**20  # bytes that one call looks at, which other threads wait for
_TEXT, _LIST, _OBJECT = b'"', b"[", b"{"

_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def check_length(request: ParsedRequest, context: int, *, fills_in: bool = False) -> None:
    """Refuse a request with a text that no engine could see whole.

    The arguments are as in `tokens_beyond`, which this raises the errors of, and
    errors.ContextExceeded.
    """
    if tokens_beyond(request, context, fills_in=fills_in):
        raise too_long(context)


def tokens_beyond(request: ParsedRequest, context: int, *, fills_in: bool = False) -> int:
    """The tokens, at the least, of a request's longest text, where those are more than `context`; 0
    where it may fit, or nobody knows the context (0).

    `fills_in`: the texts around a place count, too.  Looks at all of a large body: for a thread.
    Raises errors.ClientError for a body that cannot be decoded.
    """
    most = TOKEN_BYTES * context
    try:
        longest = longest_text(request, most, fills_in=fills_in) if context else 0
    except UNDECODABLE as error:
        raise undecodable(error) from error
    return longest // TOKEN_BYTES + 1 if longest > most else 0


def too_long(context: int) -> ContextExceeded:
    """The error of a text that is too long, in the words by which clients know it."""
    return ContextExceeded(
        f"this model's maximum context length is {context} tokens: the request has a text of"
        f" more than {TOKEN_BYTES * context} bytes, which are more tokens than that; shorten"
        " it, or load the model with a longer context"
        " (`runnerd configure MODEL --context-size N`)"
    )


def as_engines_say(tokens: int, context: int) -> dict[str, Any]:
    """The error of an engine that was asked so many tokens, for who asks for less then."""
    return {
        "type": "exceed_context_size_error",
        "n_prompt_tokens": tokens,
        "n_ctx": context,
        "message": f"input ({tokens} tokens) is larger than {context}",
    }


def longest_text(request: ParsedRequest, most: int, *, fills_in: bool = False) -> int:
    """How many bytes the longest text has that an engine takes apart at once, at the least: an
    escape may stand for one.  0 where all are shorter than `most`.
    """
    found = _prompts(request.fields, most)
    if fills_in and len(request.body) > most:
        found = chain(found, _around(request.members, most))
    return max((sum(map(_size, texts)) for texts in found), default=0)


def _size(text: msgspec.Raw) -> int:
    view, size = memoryview(text)[1:-1], 0
    for at in range(0, len(view), _WINDOW):
        piece = bytes(view[at : at + _WINDOW])
        size += len(piece)
        if escapes := piece.count(b"\\"):
            size -= escapes + 5 * piece.count(b"\\u")
    return max(0, size)


def _prompts(fields: Inference, most: int) -> Iterator[list[msgspec.Raw]]:
    """The texts that an engine takes apart at once, of each prompt; those that are larger than
    `most` among them.
    """
    for raw in (fields.messages, fields.input):  # OpenAI's responses have messages for an input
        if len(fields.system) + len(raw) > most:
            yield [*_of_content(fields.system), *_said(raw)]
    for raw in (fields.prompt, fields.suffix, fields.input, fields.documents):
        if raw is UNSAID or len(raw) <= most:
            continue
        for each in _entries(raw) if _kind(raw) == _LIST else (raw,):
            if len(each) > most:
                yield _texts(each, "prompt_string")


def _around(members: Mapping[str, msgspec.Raw], most: int) -> Iterator[list[msgspec.Raw]]:
    """The texts around a place that is to be filled in, and of other files."""
    for name in ("input_prefix", "input_suffix", "input_extra"):
        if len(raw := members.get(name, UNSAID)) > most:
            yield list(_of_content(raw))


def _said(messages: msgspec.Raw) -> Iterator[msgspec.Raw]:
    """The texts of a conversation."""
    for message in _entries(messages):
        yield from _of_content(_members(message).get("content", UNSAID))


def _of_content(content: msgspec.Raw) -> Iterator[msgspec.Raw]:
    """The texts of a message's content: itself, or its parts'."""
    for part in _entries(content) if _kind(content) == _LIST else (content,):
        yield from _texts(part, "text")


def _texts(raw: msgspec.Raw, member: str) -> list[msgspec.Raw]:
    """A string, or the one that is a member of an object."""
    if _kind(raw) == _OBJECT:
        raw = _members(raw).get(member, UNSAID)
    return [raw] if _kind(raw) == _TEXT else []


def _entries(raw: msgspec.Raw) -> list[msgspec.Raw]:
    return _decode_list(raw) if _kind(raw) == _LIST else []


def _members(raw: msgspec.Raw) -> dict[str, msgspec.Raw]:
    return _decode_object(raw) if _kind(raw) == _OBJECT else {}


def _kind(raw: msgspec.Raw) -> bytes:
    return bytes(memoryview(raw)[:1])
