"""Answers that call the model what this client calls it.

An engine knows its model by one name, its first client's; a model has many.  Where the two differ
the name is replaced in the engine's own bytes, as they come: inside a JSON string its quotes would
be escaped, so what is found can only be a member.  Where they are the same, nothing stands between.
"""

from __future__ import annotations

import re

import msgspec


class ModelNameFilter:
    """Replaces one name of the model by another, however the bytes are cut into pieces."""

    def __init__(self, old: str, new: str) -> None:
        said = msgspec.json.encode(old)
        # As the native engine writes it, and as Python does.
        self._members = (b'"model":' + said, b'"model": ' + said)
        self._longest = len(self._members[1])
        self._find = re.compile(b"|".join(map(re.escape, self._members)))
        self._new = b'"model":' + msgspec.json.encode(new)
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What can be said now: all but an end that may be the member's beginning."""
        *pieces, last = self._find.split(self._held + data)
        end = self._undecided(last)
        self._held = last[end:]
        return self._new.join((*pieces, last[:end]))

    def end(self) -> bytes:
        """What was held back."""
        held, self._held = self._held, b""
        return held

    def _undecided(self, data: bytes) -> int:
        """Return where the longest end of `data` begins that the member begins with."""
        start = data.find(b'"', max(0, len(data) - self._longest + 1))
        while start != -1:
            rest = data[start:]
            if any(member.startswith(rest) for member in self._members):
                return start
            start = data.find(b'"', start + 1)
        return len(data)
