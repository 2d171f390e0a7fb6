"""Claims that were taken away: each is told once, whether this process or another one did it."""

from __future__ import annotations

from runnerd.jobs.queue import LossListener
from runnerd.lru import Lru

_REMEMBERED = 10_000


class Losses:
    """Tells listeners of claims that count no more."""

    def __init__(self) -> None:
        self._listeners: list[LossListener] = []
        self._told: Lru[tuple[str, int], bool] = Lru(_REMEMBERED)

    def subscribe(self, listener: LossListener) -> None:
        """Call `listener` from now on."""
        self._listeners.append(listener)

    def tell(self, id: str, token: int) -> None:
        """A claim counts no more."""
        if self._told.get((id, token)):
            return
        self._told.note((id, token), True)
        for listener in self._listeners:
            listener(id, token)

    def heard(self, announcement: bytes) -> None:
        """Somebody has announced that one counts no more: its job's id and its token."""
        id, _, token = announcement.decode("utf-8", "replace").partition(" ")
        if token.isdecimal():
            self.tell(id, int(token))
