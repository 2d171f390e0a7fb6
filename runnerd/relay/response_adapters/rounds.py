"""More responses to a prompt than an engine has slots for: it is asked for them in rounds.

llama-server computes `n` responses at once, in a slot each, and refuses more than it has.  Who
asked for more gets them all in one response: choices are numbered through, tokens added up.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from runnerd.relay.dialect import AskedAgain, Translation
from runnerd.relay.events import DONE, EVENT_STREAM, Events, StreamError, written

_REFUSED = re.compile(r"Field 'n': Value must be between 1 <= value <= (\d+), but got ")
_MOST = 128  # responses to a prompt, as with OpenAI
_MOST_BYTES = 32 * 2**20  # of all rounds' requests: they are made at once
_SUMMED = ("prompt_tokens", "completion_tokens", "total_tokens")


def slots_of(error: dict[str, Any]) -> int:
    """How many responses at once an engine has said to have room for; 0: it said another thing."""
    found = _REFUSED.search(str(error.get("message")))
    return 0 if found is None else int(found[1])


def bodies(body: bytes, at_once: int) -> Iterator[tuple[int, bytes]]:
    """How many responses to each prompt each round has, and its request; none where the request's
    `n` is nothing to be had in rounds.

    That `n` is judged here: the engine's number has 32 bits, so of a larger one it says another.
    A seed is another one in each round, or they would say the same.
    """
    document = msgspec.json.decode(body)
    said, seed = document.get("n"), document.get("seed")
    if not isinstance(said, int | float) or not at_once < said <= _MOST:
        return
    wanted = int(said)
    if len(body) * -(-wanted // at_once) > _MOST_BYTES:
        return
    for start in range(0, wanted, at_once):
        document["n"] = size = min(at_once, wanted - start)
        if isinstance(seed, int) and seed >= 0:
            document["seed"] = seed + start
        yield size, msgspec.json.encode(document)


class Rounds:
    """One response of several.  `each` is what becomes of the response to a round.

    `sizes` are how many responses to each prompt the rounds have.
    """

    def __init__(self, each: Translation, sizes: list[int], *, streams: bool) -> None:
        self.streams = streams
        self.content_type = EVENT_STREAM if streams else b"application/json"
        self._unused = each
        self._sizes = sizes
        self._round = 0
        self._id: Any = None
        self._usage: dict[str, Any] = {}
        self._whole_document: dict[str, Any] = {}
        self._begin()

    def _begin(self) -> None:
        self._each = copy.deepcopy(self._unused)
        self._events = Events()
        self._whole = bytearray()

    def feed(self, data: bytes) -> bytes:
        return self._taken(self._each.feed(data))

    def _taken(self, data: bytes) -> bytes:
        if self.streams:
            events = map(self._event, self._events.feed(data)) if data else ()
            return b"".join(events)
        self._whole += data
        return b""

    def end(self) -> bytes:
        """The whole response, or the end of the stream.  Raises AskedAgain, and StreamError."""
        last = self._taken(self._each.end())
        if not self.streams:
            self._merge()
        self._round += 1
        if self._round < len(self._sizes):
            if last:  # what a stream still had to say would be lost
                raise StreamError({"message": "the engine's stream has no end"})
            self._begin()
            raise AskedAgain
        if not self.streams:
            self._whole_document["choices"].sort(key=lambda choice: choice["index"])
            return msgspec.json.encode(self._whole_document)
        return last + DONE

    def _event(self, event: dict[str, Any]) -> bytes:
        self._id = self._id or event.get("id")
        if self._id is not None:
            event["id"] = self._id
        self._renumber(event)
        if event.get("usage"):
            event["usage"] = self._summed(event["usage"])
            if not event.get("choices") and self._round < len(self._sizes) - 1:
                return b""
        return written(event)

    def _merge(self) -> None:
        try:
            document = msgspec.json.decode(self._whole)
            self._renumber(document)
            usage = self._summed(document.get("usage"))
            if not self._whole_document:
                self._whole_document = document
            else:
                self._whole_document["choices"] += document["choices"]
            self._whole_document["usage"] = usage
        except (msgspec.MsgspecError, LookupError, TypeError, AttributeError) as error:
            raise StreamError(
                {"message": "the engine's response is of an unknown shape"}
            ) from error

    def _renumber(self, document: dict[str, Any]) -> None:
        """Number the choices as if there had been one round: those to a prompt stand together."""
        here, all_of_them = self._sizes[self._round], sum(self._sizes)
        for choice in document.get("choices") or ():
            prompt, number = divmod(choice.get("index", 0), here)
            number += sum(self._sizes[: self._round])
            choice["index"] = prompt * all_of_them + number

    def _summed(self, usage: Any) -> dict[str, Any]:
        """Add a round's tokens up; a prompt was read in each."""
        if isinstance(usage, dict):
            for name in _SUMMED:
                if isinstance(usage.get(name), int):
                    self._usage[name] = self._usage.get(name, 0) + usage[name]
            if self._round == 0:
                self._usage = usage | self._usage
        return dict(self._usage)
