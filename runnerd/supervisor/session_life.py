"""What one runner knows of sessions, from its start to its end.

| a session's state | known by |
|---|---|
| in the engine | `requests` has its last request, `held` what it takes |
| in the engine, and saved as it is | it is in `saved`, too; any other one may push it out |
| saved, and not in the engine | `SavedSlots` has an entry that nobody has taken |
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from runnerd.lru import Lru
from runnerd.saved_slots import Draft, Entry
from runnerd.supervisor.held_conversations import HeldConversations

MOST = 64  # sessions that one runner keeps

Buffer = bytes | bytearray | memoryview


@dataclass(slots=True)
class SessionLife:
    """What one runner knows of sessions: their last requests, and the entries that it has read.

    `active` are being answered.  Whoever saves or restores has the lock.
    """

    held: HeldConversations
    requests: Lru[str, tuple[Buffer, ...]] = field(default_factory=Lru)
    active: set[str] = field(default_factory=set)
    saved: set[str] = field(default_factory=set)
    entries: dict[str, Entry] = field(default_factory=dict)
    restored: list[int] = field(default_factory=list)  # slots, the last one last
    draft: Draft | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    pushing: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether the engine's sessions are being saved or restored."""
        return self.pushing is not None or self.lock.locked()

    def used(self, name: str) -> None:
        """A conversation is in a slot: what was saved of others may be all that there is."""
        for other in self.saved - {name}:
            self.drop(other)

    def drop(self, session: str) -> None:
        """A session is not in the engine any more."""
        self.requests.pop(session, None)
        self.saved.discard(session)
        self.held.drop(session)

    def next_out(self, coming: int = 0) -> str | None:
        """The session that has to be saved before `coming` more bytes are evaluated."""
        while (name := self.held.next_out(coming, spared=self.active)) is not None:
            if name in self.saved:  # it is the last one, and alone too much
                return None
            if name in self.requests:
                return name
            self.held.drop(name)
        if len(self.requests) > MOST:
            spared = self.active | self.saved
            return next((name for name in self.requests if name not in spared), None)
        return None
