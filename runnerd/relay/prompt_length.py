"""Texts that cannot fit into a model's context, told by their bytes alone.

An engine takes a text apart before it counts the tokens, and nothing interrupts it meanwhile: a
megabyte costs it a third of a second and 70 MB.  No token of any vocabulary stands for as much as
`TOKEN_BYTES` throughout a text, so one with more bytes than that per token of the context never
gets to the engine; nor does one of more than `limits.text_bytes`, however long the context.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import msgspec

from runnerd.errors import ContextExceeded
from runnerd.relay.body import UNDECODABLE, UNSAID, Inference, undecodable
from runnerd.relay.parsed_request import ParsedRequest

TOKEN_BYTES = 512
_WINDOW = 2**20  # bytes that one call looks at, which other threads wait for
_TEXT, _LIST, _OBJECT = b'"', b"[", b"{"
_PROMPTS = ("prompt", "suffix", "input", "instructions", "query", "documents", "texts")
_LEVELS = 3  # of content: a message's, a tool's result in it, and what that consists of
_NOT_READ = frozenset(
    ("metadata", "annotations", "images", "image_url", "input_image", "input_audio", "input_video",
     "video_url", "source", "file", "multimodal_data")
)  # fmt: skip
"""Members of messages and of their parts that no template prints, media among them; those are
bounded elsewhere.  All others may get into a prompt: roles, names, tools' arguments, thoughts.
"""

_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class LongestPrompt:
    """The longest text of a prompt that an engine gets: for a context of so many tokens (0: nobody
    knows), and at most so many `bytes` (`limits.text_bytes`).
    """

    context: int
    bytes: int

    @property
    def most(self) -> int:
        """Bytes of a text that may fit."""
        return min(TOKEN_BYTES * self.context or self.bytes, self.bytes)

    def check(self, request: ParsedRequest, operation: str = "") -> None:
        """Refuse a request with a text that is longer.

        The arguments are as in `tokens_beyond`, which this raises the errors of, and
        errors.ContextExceeded.
        """
        if self.tokens_beyond(request, operation):
            raise self.refusal()

    def tokens_beyond(self, request: ParsedRequest, operation: str = "") -> int:
        """How many tokens a request's longest text is taken for where it is longer; 0 where it may
        fit.  They are to `context` as the text is to what may fit.

        `operation` by its name: its own members count.  Looks at all of a large body: for a thread.
        Raises errors.ClientError for a body that cannot be decoded.
        """
        try:
            longest = longest_text(request, self.most, operation)
        except UNDECODABLE as error:
            raise undecodable(error) from error
        return longest * self.context // self.most + 1 if longest > self.most else 0

    def refusal(self) -> ContextExceeded:
        """The error of a text that is too long, in the words by which clients know it."""
        if self.most == self.bytes:
            return ContextExceeded(
                f"the request has a text of more than {self.bytes} bytes, the limit for one prompt"
                " on this host (`limits.text_bytes`): the prompt is too long; shorten it"
            )
        return ContextExceeded(
            f"this model's maximum context length is {self.context} tokens: the request has a text"
            f" of more than {self.most} bytes, which are more tokens than that; shorten it, or load"
            " the model with a longer context (`runnerd configure MODEL --context-size N`)"
        )


def as_engines_say(tokens: int, context: int) -> dict[str, Any]:
    """The error of an engine that was asked so many tokens, for who asks for less then."""
    return {
        "type": "exceed_context_size_error",
        "n_prompt_tokens": tokens,
        "n_ctx": context,
        "message": f"input ({tokens} tokens) is larger than {context}",
    }


def longest_text(request: ParsedRequest, most: int, operation: str = "") -> int:
    """How many bytes the longest text has that an engine takes apart at once, at the least: an
    escape may stand for one.  0 where all are shorter than `most`.
    """
    if len(request.body) <= most:
        return 0
    members = request.members
    found = chain(_conversations(request.fields, most), _prompts(members, _PROMPTS, most))
    if operation == "embeddings":
        found = chain(found, _prompts(members, ("content",), most))
    elif operation == "infill":
        found = chain(found, _around(members, most))
    return max((sum(map(_size, texts)) for texts in found), default=0)


def _size(text: msgspec.Raw) -> int:
    view, size = memoryview(text)[1:-1], 0
    for at in range(0, len(view), _WINDOW):
        piece = bytes(view[at : at + _WINDOW])
        size += len(piece)
        if escapes := piece.count(b"\\"):
            size -= escapes + 5 * piece.count(b"\\u")
    return max(0, size)


def _conversations(fields: Inference, most: int) -> Iterator[list[msgspec.Raw]]:
    """The texts that become one prompt; OpenAI's responses have messages for an input."""
    for raw in (fields.messages, fields.input):
        if len(fields.system) + len(raw) > most:
            yield [*_of_content(fields.system, _LEVELS), *_said(raw)]


def _prompts(
    members: Mapping[str, msgspec.Raw], names: Iterable[str], most: int
) -> Iterator[list[msgspec.Raw]]:
    """The text of each prompt that is larger than `most`."""
    for name in names:
        raw = members.get(name, UNSAID)
        if len(raw) <= most:
            continue
        for each in _entries(raw) if _kind(raw) == _LIST else (raw,):
            if len(each) > most:
                yield [each] if _kind(each) == _TEXT else list(_of_part(each, _LEVELS))


def _around(members: Mapping[str, msgspec.Raw], most: int) -> Iterator[list[msgspec.Raw]]:
    """The texts around a place that is to be filled in, and other files with their names."""
    for name in ("input_prefix", "input_suffix", "input_extra"):
        if len(raw := members.get(name, UNSAID)) > most:
            yield [raw]


def _said(messages: msgspec.Raw) -> Iterator[msgspec.Raw]:
    """What a conversation may bring into a prompt."""
    for message in _entries(messages):
        yield from _of_part(message, _LEVELS)


def _of_content(content: msgspec.Raw, levels: int) -> Iterator[msgspec.Raw]:
    """What a message's content, or a tool's result, may bring: its text, or that of its parts."""
    if _kind(content) == _TEXT:
        yield content
    for part in _entries(content):
        yield from _of_part(part, levels)


def _of_part(part: msgspec.Raw, levels: int) -> Iterator[msgspec.Raw]:
    for name, value in _members(part).items():
        if name in ("content", "output") and levels:
            yield from _of_content(value, levels - 1)
        elif name not in _NOT_READ:
            yield value


def _entries(raw: msgspec.Raw) -> list[msgspec.Raw]:
    return _decode_list(raw) if _kind(raw) == _LIST else []


def _members(raw: msgspec.Raw) -> dict[str, msgspec.Raw]:
    return _decode_object(raw) if _kind(raw) == _OBJECT else {}


def _kind(raw: msgspec.Raw) -> bytes:
    return bytes(memoryview(raw)[:1])
