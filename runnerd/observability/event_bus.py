"""Events as they happen, for whoever watches: kept for a while, so that who was away catches up.

Whoever has done something publishes what it was done to.  Only who watches looks at that: what it
is told, and in which form, is decided where it asks (`api/events`).  Each kind of event has a ring
of its own, so that thousands of requests push no load of a model out.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from runnerd.errors import Overloaded
from runnerd.observability.event_ids import EventIds

HEARTBEAT = 10.0  # seconds after which a stream without news gives a sign of life
_TOGETHER = 0.25  # seconds in which events are collected for one write to who watches
_MOST_EACH = 16  # watchers of one principal
_MOST = 256  # of all


class EventKind(enum.StrEnum):
    """What something has happened to."""

    RUNNER = "runner"
    REQUEST = "request"
    TRANSFER = "transfer"
    APPROVAL = "approval"
    MODELS = "models"


_KEPT: Mapping[EventKind, int] = {EventKind.REQUEST: 1000}
_USUALLY_KEPT = 200


class Event(NamedTuple):
    """Something that has happened to its subject, at a Unix time in seconds."""

    number: int
    kind: EventKind
    at: float
    subject: object


class News(NamedTuple):
    """What is new; `missed` says that more was, which is not kept any more."""

    events: list[Event]
    missed: bool


class EventBus:
    """Keeps the newest events and wakes who watches, until `close`.

    Ids tell nobody how many events there were (`event_ids`).
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """`clock` says Unix time."""
        self._clock = clock
        self._ids = EventIds()
        self._number = 0
        self._rings = {kind: _Ring(_KEPT.get(kind, _USUALLY_KEPT)) for kind in EventKind}
        self._watchers: set[Watcher] = set()
        self._by_principal: Counter[str] = Counter()
        self.closed = asyncio.Event()

    def publish(self, kind: EventKind, subject: object) -> None:
        """Something has happened to `subject`, which is looked at later and must not change."""
        self._number = number = self._number + 1
        # A plain tuple until somebody watches: each request publishes one.
        self._rings[kind].events.append((number, kind, self._clock(), subject))
        for watcher in self._watchers:
            watcher.wake()

    @property
    def last_id(self) -> str:
        """The id of the newest event."""
        return self.id_of(self._number)

    def id_of(self, number: int) -> str:
        """The id of an event, by its number."""
        return self._ids.id_of(number)

    def number_of(self, id: str) -> int | None:
        """The number of the event with this id; None for one that this daemon has not told."""
        found = self._ids.number_of(id)
        return found if found is not None and found <= self._number else None

    def since(self, number: int, kinds: Collection[EventKind]) -> News:
        """What has happened after an event, in order."""
        rings = [self._rings[kind] for kind in kinds]
        events = [event for ring in rings for event in ring.since(number)]
        return News(sorted(events), any(ring.lost > number for ring in rings))

    @contextlib.contextmanager
    def watched(self, principal: str) -> Iterator[Watcher]:
        """Watch for the length of a block, for the principal with this id.

        Raises errors.Overloaded.
        """
        if self._by_principal[principal] >= _MOST_EACH or len(self._watchers) >= _MOST:
            raise Overloaded("too many streams of events are open; end one", retry_after=60)
        watcher = Watcher(self)
        self._watchers.add(watcher)
        self._by_principal[principal] += 1
        try:
            yield watcher
        finally:
            self._watchers.remove(watcher)
            self._by_principal[principal] -= 1
            if not self._by_principal[principal]:
                del self._by_principal[principal]

    def close(self) -> None:
        """End every stream: the daemon drains.  Idempotent."""
        self.closed.set()
        for watcher in self._watchers:
            watcher.wake()


class Watcher:
    """Waits for news, for one stream; how far it has come is the stream's."""

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """There is something new."""
        self._woken.set()

    async def wait(self, seconds: float | None = None) -> None:
        """Wait until something is new, and a moment longer for what comes with it; or for so many
        seconds (None: until a sign of life is due), or until the daemon drains.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HEARTBEAT if seconds is None else seconds):
                await self._woken.wait()
        if self._woken.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TOGETHER):
                    await self._bus.closed.wait()
        self._woken.clear()


class _Ring:
    """The newest `events` of one kind, and of those before them the newest, for its number."""

    def __init__(self, most: int) -> None:
        self.events: deque[tuple[int, EventKind, float, object]] = deque(maxlen=most + 1)
        self._most = most

    @property
    def lost(self) -> int:
        """The number of the newest that is not kept any more, 0 where all are."""
        return self.events[0][0] if len(self.events) > self._most else 0

    def since(self, number: int) -> list[Event]:
        found: list[Event] = []
        for event in islice(reversed(self.events), self._most):
            if event[0] <= number:
                break
            found.append(Event(*event))
        return found
