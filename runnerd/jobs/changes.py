"""Who waits for news: workers for work, clients for a change of a job."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator

from runnerd.errors import Overloaded

MOST_FOLLOWERS = 64
"""Of one principal."""


class Changes:
    """Tells watchers of single jobs, each by an event of its own, that something has changed."""

    def __init__(self) -> None:
        self._watchers: dict[str, set[asyncio.Event]] = {}

    @contextlib.contextmanager
    def of(self, id: str) -> Iterator[asyncio.Event]:
        """An event that is set with each change of a job, as long as the with block lasts."""
        event = asyncio.Event()
        self._watchers.setdefault(id, set()).add(event)
        try:
            yield event
        finally:
            self._watchers[id].discard(event)
            if not self._watchers[id]:
                del self._watchers[id]

    def tell(self, ids: Iterable[str]) -> None:
        """These jobs have changed."""
        for id in ids:
            for event in self._watchers.get(id, ()):
                event.set()

    def tell_all(self) -> None:
        """Every job may have changed."""
        self.tell(list(self._watchers))


class Followers:
    """Counts the streams in which clients are told of changes: each reads a whole job with each."""

    def __init__(self) -> None:
        self._by_principal: Counter[str] = Counter()

    @contextlib.contextmanager
    def joined(self, principal: str) -> Iterator[None]:
        """One more of the principal with this id, for a with block.  Raises errors.Overloaded."""
        if self._by_principal[principal] >= MOST_FOLLOWERS:
            raise Overloaded(
                f"{MOST_FOLLOWERS} streams of yours follow jobs already; end one", retry_after=60
            )
        self._by_principal[principal] += 1
        try:
            yield
        finally:
            self._by_principal[principal] -= 1
            if not self._by_principal[principal]:
                del self._by_principal[principal]


class WorkSignal:
    """Wakes workers when there may be work that was not there when they looked last."""

    def __init__(self) -> None:
        self._version = 0
        self._seen: dict[str, int] = {}
        self._waiting: set[asyncio.Event] = set()
        self._timer: asyncio.TimerHandle | None = None

    def looking(self, worker: str) -> None:
        """A worker looks now."""
        self._seen[worker] = self._version

    def wake(self) -> None:
        """There may be work."""
        self._version += 1
        for event in self._waiting:
            event.set()

    def wake_in(self, seconds: float | None) -> None:
        """There will be work in so many seconds; None: not that anybody knows."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, seconds), self.wake)

    async def wait(self, worker: str) -> None:
        """Wait for a change since a worker looked last."""
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            while self._seen.get(worker, -1) == self._version:
                event.clear()
                await event.wait()
        finally:
            self._waiting.discard(event)

    def close(self) -> None:
        """Wake nobody any more."""
        self.wake_in(None)
