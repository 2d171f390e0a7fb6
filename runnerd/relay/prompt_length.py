"""Texts that cannot fit into a model's context, told without its vocabulary.

An engine takes a text apart before it counts the tokens, and nothing interrupts it meanwhile: a
megabyte costs it a third of a second and 70 MB, and signs of the template that stand in a text
(`<|im_start|>`) cost by the square of their number.  So a text that has more tokens than the
context (`least_tokens`), or more than `limits.text_bytes`, never gets to the engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import msgspec

from runnerd.errors import ContextExceeded, PayloadTooLarge
from runnerd.relay.body import UNDECODABLE, UNSAID, Inference, undecodable
from runnerd.relay.least_tokens import TOKEN_CHANGES, Length
from runnerd.relay.parsed_request import ParsedRequest

_TEXT, _LIST, _OBJECT = b'"', b"[", b"{"
_PROMPTS = ("prompt", "suffix", "input", "instructions", "query", "documents", "texts")
_COUNTING = frozenset(("messages/count_tokens", "tokenize", "apply-template"))
_COUNTED = 2**14  # tokens, at the least, of what may be counted although no context holds it
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

    def check(self, request: ParsedRequest, operation: str = "") -> None:
        """Refuse a request with a text that is longer.

        The arguments are as in `tokens_beyond`, which this raises the errors of, and
        errors.ContextExceeded.
        """
        if self.tokens_beyond(request, operation):
            raise self.refusal()

    def tokens_beyond(self, request: ParsedRequest, operation: str = "") -> int:
        """The tokens, at the least, of a request's longest text, where those are more than
        `context`, or too many to be counted; 0 where it may fit.

        `operation` by its name: its own members count.  Looks at all of a large body: for a thread.
        Raises errors.PayloadTooLarge for a text of more than `bytes`, and errors.ClientError for a
        body that cannot be decoded.
        """
        most = max(self.context, _COUNTED) if operation in _COUNTING else self.context
        fewest = min(TOKEN_CHANGES * most or self.bytes, self.bytes)
        try:
            found = list(_lengths(request, fewest, operation))
        except UNDECODABLE as error:
            raise undecodable(error) from error
        tokens = max((each.tokens for each in found), default=0)
        if 0 < most < tokens:
            return tokens
        if any(each.bytes > self.bytes for each in found):
            raise PayloadTooLarge(
                f"the request has a prompt of more than {self.bytes} bytes, which is the limit on"
                " this host (`limits.text_bytes`); shorten it"
            )
        return 0

    def refusal(self) -> ContextExceeded:
        """The error of a text that is too long, in the words by which clients know it."""
        return ContextExceeded(
            f"this model's maximum context length is {self.context} tokens: the request has a text"
            " that exceeds the available context size, as its length tells before it is counted;"
            " shorten it, or load the model with a longer context"
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


def _lengths(request: ParsedRequest, fewest: int, operation: str) -> Iterator[Length]:
    """The texts that an engine takes apart at once, of each prompt of more than `fewest` bytes."""
    if len(request.body) <= fewest:
        return
    members = request.members
    found = chain(_conversations(request.fields, fewest), _prompts(members, _PROMPTS, fewest))
    if operation in ("embeddings", "tokenize"):
        found = chain(found, _prompts(members, ("content",), fewest))
    elif operation == "infill":
        found = chain(found, _around(members, fewest))
    yield from map(Length, found)


def _conversations(fields: Inference, fewest: int) -> Iterator[list[msgspec.Raw]]:
    """The texts that become one prompt, with the tools, which templates print; OpenAI's responses
    have messages for an input.
    """
    for raw in (fields.messages, fields.input):
        if raw is not UNSAID and len(fields.system) + len(raw) + len(fields.tools) > fewest:
            yield [*_of_content(fields.system, _LEVELS), *_said(raw), fields.tools]


def _prompts(
    members: Mapping[str, msgspec.Raw], names: Iterable[str], fewest: int
) -> Iterator[list[msgspec.Raw]]:
    """The text of each prompt that is larger than `fewest`."""
    for name in names:
        raw = members.get(name, UNSAID)
        if len(raw) <= fewest:
            continue
        for each in _entries(raw) if _kind(raw) == _LIST else (raw,):
            if len(each) > fewest:
                yield [each] if _kind(each) == _TEXT else list(_of_part(each, _LEVELS))


def _around(members: Mapping[str, msgspec.Raw], fewest: int) -> Iterator[list[msgspec.Raw]]:
    """The texts around a place that is to be filled in, and other files with their names."""
    for name in ("input_prefix", "input_suffix", "input_extra"):
        if len(raw := members.get(name, UNSAID)) > fewest:
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
