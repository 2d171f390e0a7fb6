"""The `context` of /api/generate: numbers that a client gives back to go on with a conversation.

Ollama's are token numbers.  Ours hold the conversation itself, three bytes in each: nothing is kept
in the daemon, and the conversation goes through the model's template anew, which a row of tokens
cannot.  Clients only pass them on.
"""

from __future__ import annotations

from typing import Any

import msgspec

from runnerd.errors import ClientError

_MARK = 0x52440001  # no vocabulary has as many tokens
_WIDTH = 3  # bytes in a number: exact in every client's kind of number

Turn = tuple[str, str]
"""Who says something, and what."""

_decode = msgspec.json.Decoder(list[Turn]).decode


def remember(turns: list[Turn]) -> list[int]:
    """Return a conversation as numbers."""
    data = msgspec.json.encode(turns)
    padded = data + b" " * (-len(data) % _WIDTH)
    return [
        _MARK,
        *(int.from_bytes(padded[at : at + _WIDTH]) for at in range(0, len(padded), _WIDTH)),
    ]


def recall(numbers: list[Any]) -> list[Turn]:
    """Return the conversation of `remember`'s numbers.  Raises errors.ClientError for others."""
    if not all(type(number) is int for number in numbers):
        raise ClientError("context must be an array of whole numbers", param="context")
    if not numbers:
        return []
    try:
        if numbers[0] != _MARK:
            raise ValueError("it does not begin as ours do")
        turns = _decode(b"".join(number.to_bytes(_WIDTH) for number in numbers[1:]))
        if any(role not in ("user", "assistant") for role, _ in turns):
            raise ValueError("it has other speakers")
    except (ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise ClientError(
            "context is none that this server has given; leave it out to begin anew",
            param="context",
        ) from error
    return turns
