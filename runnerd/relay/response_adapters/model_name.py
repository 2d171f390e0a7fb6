"""Answers that call the model what this client calls it.

An engine knows its model by one name, its first client's; a model has many.  Where the two differ
the name is replaced in the engine's own bytes, as they come: inside a JSON string its quotes would
be escaped, so what is found can only be a member.  Where they are the same, nothing stands between.
"""

from __future__ import annotations

import re
from dataclasses import replace

import msgspec

from runnerd.relay.engine import Loss, ResponseReceiver
from runnerd.relay.messages import LAST_CHUNK, chunk
from runnerd.relay.response_parser import ResponseHead


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
        """Return what can be said now: all but an end that may be the member's beginning."""
        *pieces, last = self._find.split(self._held + data)
        end = self._undecided(last)
        self._held = last[end:]
        return self._new.join((*pieces, last[:end]))

    def end(self) -> bytes:
        """Return what was held back."""
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


class RenamingReceiver:
    """Stands between an engine's connection and who gets its answer (a ResponseReceiver).

    The answer's length is not known before its end, so it is passed on in chunks.
    """

    __slots__ = ("_framed", "_receiver", "_renaming")

    def __init__(self, receiver: ResponseReceiver, old: str, new: str) -> None:
        self._receiver = receiver
        self._renaming = ModelNameFilter(old.strip(" "), new)  # the engine strips it as well
        self._framed = False

    def engine_head(self, head: ResponseHead) -> bool:
        """Pass the head on.  The body is wanted without framing; who wants it with gets ours."""
        self._framed = self._receiver.engine_head(replace(head, length=None, chunked=True))
        return False

    def engine_body(self, data: bytes) -> None:
        """Pass on what is decided."""
        self._pass(self._renaming.feed(data))

    def engine_done(self) -> None:
        """Pass on the rest, and that this was all."""
        self._pass(self._renaming.end())
        if self._framed:
            self._receiver.engine_body(LAST_CHUNK)
        self._receiver.engine_done()

    def engine_lost(self, loss: Loss) -> None:
        """Pass on that there is no more; our chunks are whole."""
        self._receiver.engine_lost(replace(loss, whole_chunks=True) if self._framed else loss)

    def _pass(self, data: bytes) -> None:
        if data:
            self._receiver.engine_body(chunk(data) if self._framed else data)
