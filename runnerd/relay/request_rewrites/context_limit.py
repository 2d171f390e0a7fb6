"""How many tokens a user's request and its response may have together.

The tokenizer is the engine's, so the request is estimated: a token for each four bytes of its text,
without images and sounds.  What is left of the limit is the most that a response may have, whatever
the request says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from runnerd.errors import LimitReached
from runnerd.relay.body import json_object
from runnerd.relay.engine import Buffer

_BYTES_PER_TOKEN = 4
_MOST = 2**53
_TEXTS = (
    "messages", "prompt", "input", "system", "instructions", "tools", "input_prefix",
    "input_suffix", "input_extra", "query", "documents", "texts", "content",
)  # fmt: skip
_DATA = re.compile(r"data:[a-z]+/[a-z0-9.+-]+;base64,", re.IGNORECASE)
_ENCODED = ("data", "image_url", "url", "input_audio")
_LIMITS = {
    b"/v1/responses": ("max_output_tokens",),
    b"/v1/messages": ("max_tokens",),
    b"/v1/chat/completions": ("max_tokens", "max_completion_tokens", "n_predict"),
    b"/v1/completions": ("max_tokens", "n_predict"),
    b"/infill": ("n_predict", "max_tokens"),
}
"""What the engine's routes call the length of a response; the first name is set where none is."""


def within_context(
    body: tuple[Buffer, ...], engine_path: bytes, context: int
) -> tuple[Buffer, ...]:
    """A request's body with no more tokens for the response than `context` leaves.

    Raises errors.LimitReached where it leaves none.
    """
    document = json_object(b"".join(body))
    estimate = _estimate(document)
    left = context - estimate
    if left < 1:
        raise LimitReached(
            f"the request has about {estimate} tokens, and your limit context of {context} tokens"
            " is for it and its response together; send a shorter one",
            limit="context",
        )
    names = _LIMITS.get(engine_path)
    if names is None:
        return body
    said = [name for name in names if type(document.get(name)) in (int, float)]
    for name in said:
        if not 0 <= document[name] <= left:
            document[name] = left
    if not said:
        document[names[0]] = left
    return (msgspec.json.encode(document),)


def estimated_tokens(body: tuple[Buffer, ...], engine_path: bytes) -> tuple[int, int | None, int]:
    """The tokens of a request's text, of each of its responses, and how many responses there are.

    -1 is for a response of which nothing is said, None for a request that has none.
    """
    document = json_object(b"".join(body))
    names = _LIMITS.get(engine_path)
    if names is None:
        return _estimate(document), None, 1
    said = [document[name] for name in names if type(document.get(name)) in (int, float)]
    least = min((int(each) for each in said if 0 <= each < _MOST), default=-1)
    times = document.get("n", document.get("n_cmpl"))
    return _estimate(document), least, times if type(times) is int and times > 0 else 1


def _estimate(document: dict[str, Any]) -> int:
    texts = (document[name] for name in _TEXTS if name in document)
    size = sum(len(text.encode("utf-8", "replace")) for each in texts for text in _strings(each))
    return -(-size // _BYTES_PER_TOKEN)


def _strings(value: Any) -> Iterator[str]:
    """The texts in a document, without what is a file in base64."""
    todo = [value]
    while todo:
        each = todo.pop()
        if isinstance(each, str):
            if not _DATA.match(each):
                yield each
        elif isinstance(each, list):
            todo.extend(each)
        elif isinstance(each, dict):
            todo.extend(part for name, part in each.items() if name not in _ENCODED)
