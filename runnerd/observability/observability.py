"""What is seen of the daemon, as one thing for those who feed it and those who show it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from runnerd.observability.event_bus import EventBus, EventKind
from runnerd.observability.loop_lag import LoopLag


@dataclass(frozen=True, slots=True)
class Observability:
    """The parts of this room."""

    events: EventBus = field(default_factory=EventBus)
    loop_lag: LoopLag = field(default_factory=LoopLag)

    def from_threads(self, kind: EventKind) -> Callable[[], None]:
        """What publishes an event without a subject from any thread; to be called on the loop."""
        loop = asyncio.get_running_loop()

        def publish() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody watches
                loop.call_soon_threadsafe(self.events.publish, kind, None)

        return publish
