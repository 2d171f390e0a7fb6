"""Events that say what the one before said, but for a piece of text.

While an engine generates, most of its events differ in one string.  What was read of the first of
them holds for those that follow: of these only the string is read, a tenth of the work.  Those that
have come together are read together.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

import msgspec

_IN_VAIN = 4  # so many in a row that did not come again, and no further one is looked for
_DELTA: tuple[str, ...] = ("content", "reasoning_content")
_TEXT: tuple[str, ...] = ("text",)
_MEMBERS = {name: b'"%s":"' % name.encode() for name in (*_DELTA, *_TEXT)}

_string = msgspec.json.Decoder(str).decode
_strings = msgspec.json.Decoder(list[str]).decode


class RepeatedEvent:
    """What the latest event said around its text."""

    __slots__ = ("_before", "_behind", "_least", "_texts", "_vain")

    def __init__(self) -> None:
        self._before: bytes | None = None  # None: nothing that could come again
        self._behind = b""
        self._least = 0
        self._texts: list[str] = []
        self._vain = 0

    def takes(self, line: bytes) -> bool:
        """Add the text of a line that says the same otherwise to the pieces; False for another."""
        before = self._before
        if before is None or not (line.startswith(before) and line.endswith(self._behind)):
            return False
        if len(line) < self._least:
            return False
        try:
            self._texts.append(_string(line[len(before) : len(line) - len(self._behind)]))
        except msgspec.DecodeError:
            return False
        self._vain = 0
        return True

    def take_run(self, events: list[bytes], at: int) -> int:
        """Add the texts of all such events in a row from `at` on; return where they end."""
        before, behind = self._before, self._behind
        if before is None:
            return at
        first, last, strings = len(before), -len(behind), []
        for event in islice(events, at, None):
            if not (event.startswith(before) and event.endswith(behind)):
                break
            strings.append(event[first:last])
        if not strings:
            return at
        try:
            # No string has a line feed in it, so each of these is one, or this is no JSON.
            texts = _strings(b"[%s]" % b"\n,".join(strings))
        except msgspec.DecodeError:
            return at
        if len(texts) != len(strings):
            return at
        self._texts += texts
        self._vain = 0
        return at + len(texts)

    def learn(
        self, line: bytes, event: dict[str, Any], pieces: dict[int, dict[str, list[str]]]
    ) -> None:
        """Expect a line again, which says `event`; `pieces` are the texts of each choice by name,
        with this event's.

        Nothing is expected where another such event would add more than text, or where the text is
        not plain to see.
        """
        self._before = None
        if self._vain >= _IN_VAIN or (named := _name(event)) is None:
            return
        index, name = named
        texts, member = pieces[index][name], _MEMBERS[name]
        begin = line.find(member) + len(member)
        end = line.find(b'"', begin)
        if begin < len(member) or line.find(member, begin) >= 0:
            return
        if line[begin:end] == texts[-1].encode():
            self._vain += 1
            self._before, self._behind = line[: begin - 1], line[end + 1 :]
            self._least = begin + len(self._behind)
            self._texts = texts


def _name(event: dict[str, Any]) -> tuple[int, str] | None:
    """Return the choice and the name of an event's text, if that is all that it adds."""
    choices = event.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or isinstance(event.get("usage"), dict):
        return None
    choice = choices[0]
    if isinstance(choice.get("logprobs"), dict):
        return None
    said, names = choice, _TEXT
    if "delta" in choice:
        said, names = choice["delta"], _DELTA
        if len(said) != 1:
            return None
    for name in names:
        if isinstance(said.get(name), str):
            return choice.get("index", 0), name
    return None
