"""What an engine still has of conversations, by our own reckoning: it does not tell.

llama-server moves what leaves its slots to a memory of bounded size, in which the oldest makes room
for the newest, whatever it is worth.  So the conversations are noted here in the order of their
use, each with what it takes.  Those that do not fit together are the ones that it drops next.
"""

from __future__ import annotations

from collections.abc import Collection

from runnerd.backends.slots import SlotMemory
from runnerd.lru import Lru

_HEAD_BYTES = 4096  # of one conversation, beside its tokens
_BYTES_PER_TOKEN = 3  # of text, where the engine has not told how many they are


class HeldConversations:
    """The conversations of one engine, by name, with the bytes of their states."""

    def __init__(self, memory: SlotMemory | None) -> None:
        self._memory = memory
        self._bytes: Lru[str, int] = Lru()
        self._total = 0

    @property
    def bounded(self) -> bool:
        """Whether anything is ever dropped."""
        return self._memory is not None and self._memory.room_bytes is not None

    def note(self, name: str, tokens: int) -> None:
        """A conversation was used and has so many tokens now."""
        if self._memory is not None:
            self.note_bytes(name, tokens * self._memory.token_bytes + _HEAD_BYTES)

    def use(self, name: str, length: int) -> None:
        """A conversation is used, of which no more may be known than the length of its text."""
        if name in self._bytes:
            self._bytes.use(name)
        else:
            self.note(name, length // _BYTES_PER_TOKEN)

    def note_bytes(self, name: str, size: int) -> None:
        """The same where its size is known."""
        self._total += size - self._bytes.get(name, 0)
        self._bytes.note(name, size)

    def drop(self, name: str) -> None:
        """A conversation is not there any more."""
        self._total -= self._bytes.pop(name, 0)

    def is_newest(self, name: str) -> bool:
        """Whether no other conversation was used since."""
        return next(reversed(self._bytes), None) == name

    def next_out(self, coming: int = 0, *, spared: Collection[str] = ()) -> str | None:
        """The one that goes next, once `coming` bytes more are there; None while all fit.

        Those that are `spared` are in use.
        """
        if not self._overflows(coming):
            return None
        return next((name for name in self._bytes if name not in spared), None)

    def _overflows(self, coming: int) -> bool:
        room = None if self._memory is None else self._memory.room_bytes
        return room is not None and self._total + coming > room
