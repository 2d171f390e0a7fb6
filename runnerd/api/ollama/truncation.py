"""What is asked instead of what is too long, unless the client said `truncate: false`.

The engine counts the tokens and says how many there are and how many may be.  Only then something
is left out, in proportion; what fits costs nothing.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

_INPUT = re.compile(r"input \((\d+) tokens\) is (?:too large|larger than).*?(\d+)")
_MARGIN = 0.95  # of the room is filled: tokens are no fixed number of characters
_MOST_TRIES = 12


class FewerMessages:
    """Leaves out the oldest messages of a conversation, but never a system's and never the last."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._request = request
        self._tries = 0

    def __call__(self, error: dict[str, Any]) -> bytes | None:
        """Return a shorter request, None where the error is another one or nothing can go."""
        tokens, room = error.get("n_prompt_tokens"), error.get("n_ctx")
        if error.get("type") != "exceed_context_size_error" or not (tokens and room):
            return None
        self._tries += 1
        messages = self._request["messages"]
        kept = _without_oldest(messages, room * _MARGIN / tokens)
        if self._tries > _MOST_TRIES or len(kept) == len(messages):
            return None
        self._request = {**self._request, "messages": kept}
        return msgspec.json.encode(self._request)


def _without_oldest(messages: list[dict[str, Any]], share: float) -> list[dict[str, Any]]:
    """Return about this share of the messages' text; at least one goes where one can."""
    sizes = [len(msgspec.json.encode(message)) for message in messages]
    surplus = sum(sizes) * (1 - min(1.0, share))
    gone: set[int] = set()
    for number, message in enumerate(messages[:-1]):
        if message["role"] == "system":
            continue
        orphan = message["role"] == "tool" and bool(gone)  # its call went
        if surplus <= 0 and gone and not orphan:
            break
        gone.add(number)
        surplus -= sizes[number]
    return [message for number, message in enumerate(messages) if number not in gone]


class ShorterTexts:
    """Cuts the longest of the texts to embed."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._request = request
        self._tries = 0

    def texts(self) -> list[str]:
        """What is asked for now."""
        return list(self._request["input"])

    def __call__(self, error: dict[str, Any]) -> bytes | None:
        """Return a shorter request, None where the error is another one."""
        found = _INPUT.search(str(error.get("message", "")))
        self._tries += 1
        if found is None or self._tries > _MOST_TRIES:
            return None
        tokens, room = int(found[1]), int(found[2])
        texts: list[str] = self._request["input"]
        longest = max(map(len, texts))
        most = max(1, min(longest - 1, int(longest * _MARGIN * room / tokens)))
        self._request = {**self._request, "input": [text[:most] for text in texts]}
        return msgspec.json.encode(self._request)
