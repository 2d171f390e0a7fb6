"""What a response cost, from the engine's own counts, without parsing the response.

llama-server ends every response with `usage` (OpenAI's) or `timings` (its own), in the last JSON
object.  Only the object behind that name is decoded.  Text cannot be mistaken for it: inside a JSON
string its quotes would be escaped.

Anthropic's streams tell a prompt's tokens at their beginning and the others at their end, and count
what was cached apart.
"""

from __future__ import annotations

import json
from typing import Annotated

import msgspec

_USAGE = b'"usage":{'
_TIMINGS = b'"timings":{'
_INPUT, _OUTPUT = b'"input_tokens"', b'"output_tokens"'
_OBJECT_BYTES = 1024
_MOST = 2**53  # beyond, a number is no count
_UNSAID = msgspec.Raw(b"")

_decode = msgspec.json.Decoder().decode
_decoder = json.JSONDecoder()  # reads an object and leaves alone what comes behind it


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one response; None: not told."""

    prompt: int | None = None
    generated: int | None = None
    cached: int | None = None


_Count = Annotated[int, msgspec.Meta(ge=0, lt=_MOST)]


class _Details(msgspec.Struct, gc=False):
    cached_tokens: _Count | None = None


class _Plain(msgspec.Struct, gc=False):
    """The counts as nearly every response has them, and what else could tell something."""

    prompt_tokens: _Count | None = None
    completion_tokens: _Count | None = None
    prompt_tokens_details: _Details | None = None
    input_tokens: msgspec.Raw = _UNSAID
    output_tokens: msgspec.Raw = _UNSAID
    input_tokens_details: msgspec.Raw = _UNSAID
    cache_read_input_tokens: msgspec.Raw = _UNSAID

    @property
    def is_all(self) -> bool:
        """Whether the first three are all that is told."""
        return (
            self.input_tokens is _UNSAID
            and self.output_tokens is _UNSAID
            and self.input_tokens_details is _UNSAID
            and self.cache_read_input_tokens is _UNSAID
        )


_decode_plain = msgspec.json.Decoder(_Plain).decode


def excerpt(data: bytes) -> bytes | None:
    """Return the part of a piece of a response that has the counts, None when it has none.

    Cheap enough for every piece; what it returns is for `read`, later.
    """
    start = data.rfind(_USAGE)  # from the end, where it is
    if start < 0:
        start = data.rfind(_TIMINGS)
    if start < 0:
        return None
    found = data[start : start + _OBJECT_BYTES]
    if _OUTPUT in found and _INPUT not in found and (first := data.find(_USAGE)) < start:
        return joined(data[first : first + _OBJECT_BYTES], found)
    return found


def joined(before: bytes | None, counts: bytes) -> bytes:
    """The counts of a piece behind those of earlier ones, where they do not tell the prompt's."""
    if before is None or _OUTPUT not in counts or _INPUT in counts:
        return counts
    return before[:_OBJECT_BYTES] + counts


def read(data: bytes) -> Usage | None:
    """Return the counts in an excerpt, None where there are none."""
    text = _text_of(data, _USAGE)
    if text is not None and (told := _read_plain(text)) is not None:
        return told
    usage = None if text is None else _object(data, _USAGE, text)
    if usage is not None:
        if "output_tokens" in usage and "input_tokens" not in usage:
            second = data.find(_USAGE, data.find(_USAGE) + 1)
            usage = (_object_of(data[: max(0, second)], _USAGE) or {}) | usage
        cached = _count(usage, "cache_read_input_tokens")
        prompt = _count(usage, "prompt_tokens", "input_tokens")
        details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
        return Usage(
            prompt if prompt is None or cached is None else prompt + cached,
            _count(usage, "completion_tokens", "output_tokens"),
            _count(details, "cached_tokens") if isinstance(details, dict) else cached,
        )
    timings = _object_of(data, _TIMINGS)
    if timings is None:
        return None
    prompt, cached = _count(timings, "prompt_n"), _count(timings, "cache_n")
    whole = prompt if prompt is None or cached is None else prompt + cached
    return Usage(whole, _count(timings, "predicted_n"), cached)


def _read_plain(text: bytes) -> Usage | None:
    """The counts of an object that has nothing but plain ones: in one step, which is a third of the
    work.  None for any other, which is looked at member by member.
    """
    try:
        told = _decode_plain(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not told.is_all:
        return None
    details = told.prompt_tokens_details
    cached = None if details is None else details.cached_tokens
    return Usage(told.prompt_tokens, told.completion_tokens, cached)


def _text_of(data: bytes, name: bytes) -> bytes | None:
    """The text of the last object of this name."""
    start = data.rfind(name)
    if start < 0:
        return None
    start += len(name) - 1
    end = data.find(b"}", start) + 1
    if data.count(b"{", start, end) > 1:  # with details, an object in the object
        end = data.find(b"}", end) + 1
    return data[start:end]


def _object_of(data: bytes, name: bytes) -> dict[str, object] | None:
    text = _text_of(data, name)
    return None if text is None else _object(data, name, text)


def _object(data: bytes, name: bytes, text: bytes) -> dict[str, object] | None:
    try:
        said = _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        start = data.rfind(name) + len(name) - 1
        return _in_front(data[start : start + _OBJECT_BYTES])
    return said if isinstance(said, dict) else None


def _in_front(data: bytes) -> dict[str, object] | None:
    """The object that stands in front, whatever it is made of."""
    text = data.decode("utf-8", "replace")
    try:
        found, _ = _decoder.raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _count(counts: dict[str, object], *names: str) -> int | None:
    for name in names:
        value = counts.get(name)
        if isinstance(value, int) and 0 <= value < _MOST:
            return value
    return None
