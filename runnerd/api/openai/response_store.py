"""Answers that a later request may refer to (`previous_response_id`), in memory, bounded.

They hold what people said, so they are never written down: they go with the daemon, after a day, or
when newer ones need the room.  Each belongs to the principal who asked for it: to everybody else it
is as one that there never was, whatever they know of its id.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from runnerd.errors import ResponseNotFound
from runnerd.lru import Lru

_BYTES = 64 * 2**20  # of all kept responses together
_LARGEST = 8 * 2**20  # one with more history is not kept
_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class _Kept:
    owner: str
    items: bytes
    response: bytes
    made: tuple[str, ...]  # ids of the items in the response
    until: float

    @property
    def size(self) -> int:
        return len(self.items) + len(self.response)


class ResponseStore:
    """Keeps answers and what led to them, the ones used last for longest."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: Lru[str, _Kept] = Lru()  # bounded by bytes
        self._bytes = 0
        self._makers: dict[str, str] = {}  # of an item: the response that it is in

    @staticmethod
    def new_id() -> str:
        """Return an id for a response."""
        return f"resp_{secrets.token_hex(24)}"

    def keep(self, owner: str, id: str, items: list[Any], response: dict[str, Any]) -> None:
        """Keep a response; `items` are the whole conversation with it, in the request's terms.

        `owner` is the id of the principal whose it is, here as in every method.
        """
        kept = _Kept(
            owner,
            msgspec.json.encode(items),
            msgspec.json.encode(response),
            tuple(item["id"] for item in response.get("output", []) if "id" in item),
            self._clock() + _SECONDS,
        )
        if kept.size > _LARGEST:
            return
        self._kept.note(id, kept)
        self._bytes += kept.size
        self._makers |= dict.fromkeys(kept.made, id)
        while self._bytes > _BYTES or self._kept[self._kept.oldest()].until < self._clock():
            self._drop(self._kept.oldest())

    def items(self, owner: str, id: str) -> list[Any]:
        """Return the conversation up to and with a response.  Raises errors.ResponseNotFound."""
        found: list[Any] = msgspec.json.decode(self._find(owner, id).items)
        return found

    def item(self, owner: str, id: str) -> dict[str, Any]:
        """Return an item of a kept response.  Raises errors.ResponseNotFound."""
        response = msgspec.json.decode(self.response(owner, self._makers.get(id, "")))
        return next(item for item in response["output"] if item.get("id") == id)

    def response(self, owner: str, id: str) -> bytes:
        """Return a response as it was sent.  Raises errors.ResponseNotFound."""
        return self._find(owner, id).response

    def forget(self, owner: str, id: str) -> None:
        """Drop a response.  Raises errors.ResponseNotFound."""
        self._find(owner, id)
        self._drop(id)

    def _find(self, owner: str, id: str) -> _Kept:
        kept = self._kept.get(id)
        if kept is None or kept.until < self._clock() or kept.owner != owner:
            raise ResponseNotFound(
                "this response is not known: responses are kept in memory, for a day at most;"
                " send the whole conversation as input"
            )
        return self._kept.use(id)

    def _drop(self, id: str) -> None:
        kept = self._kept.pop(id)
        self._bytes -= kept.size
        for item in kept.made:
            self._makers.pop(item, None)
