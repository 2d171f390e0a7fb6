"""Which queues a worker takes tasks from, and how many at a time.

A task for a model that is not loaded costs a load, and often another model its place.  So a worker
stays with the models that are loaded as long as these have work, and turns to another queue only
when they have none, or when that queue has waited for a *quantum*.  Of several workers the one that
has the model loaded is asked first: RabbitMQ gives tasks to consumers of higher priority as long as
these take any.

| the model of a queue | prefetch | priority |
|---|---|---|
| not here, and not to be fetched | 0 | |
| loaded | its slots, less what others use of them, less those kept free | 10 |
| not loaded, loaded ones have work | 0, but 1 once its tasks have waited for a quantum | 0 |
| not loaded, nothing else to do | 1 | 0 |

Pure: clock and figures come from outside.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

PREFERRED = 10
_ENOUGH = 8  # tasks that wait for each consumer: fewer are left to those who take them already


@dataclass(frozen=True, slots=True)
class QueueView:
    """A queue as a worker sees it.

    `ready` tasks wait in it, other workers have `consumers` on it, `running` tasks of it are ours.
    `slots` is None while its model is not loaded; `requests` is everybody's for that model.
    """

    name: str
    usable: bool
    slots: int | None = None
    requests: int = 0
    ready: int = 0
    consumers: int = 0
    running: int = 0

    @property
    def has_work(self) -> bool:
        return self.ready > 0 or self.running > 0


@dataclass(frozen=True, slots=True)
class Taking:
    """How a worker consumes from a queue; a prefetch of 0 is not at all."""

    prefetch: int = 0
    priority: int = 0


class Placement:
    """Remembers since when queues wait."""

    def __init__(self, *, quantum: float = 60.0, kept_free: int = 1, most: int = 64) -> None:
        """Of a model with several slots `kept_free` are left to people; `most` bounds all."""
        self._quantum = quantum
        self._kept_free = kept_free
        self._most = most
        self._waiting_since: dict[str, float] = {}

    def decide(self, queues: Iterable[QueueView], now: float) -> dict[str, Taking]:
        """How to consume from each queue from now on."""
        queues = list(queues)
        busy = any(each.has_work for each in queues if each.usable and each.slots is not None)
        busy = busy or any(each.running for each in queues)
        return {each.name: self._taking(each, now, busy=busy) for each in queues}

    def _taking(self, queue: QueueView, now: float, *, busy: bool) -> Taking:
        if not queue.usable:
            self._waiting_since.pop(queue.name, None)
            return Taking()
        if queue.slots is not None:
            self._waiting_since.pop(queue.name, None)
            return Taking(self._share(queue, queue.slots), PREFERRED)
        if queue.running:  # its model is about to be loaded for it
            return Taking(1)
        if queue.ready == 0:
            self._waiting_since.pop(queue.name, None)
            return Taking(0 if busy else 1)
        since = self._waiting_since.setdefault(queue.name, now)
        others_do = 0 < queue.consumers and queue.ready <= _ENOUGH * queue.consumers
        starves = now - since >= self._quantum and not others_do
        return Taking(1 if not busy or starves else 0)

    def _share(self, queue: QueueView, slots: int) -> int:
        others = max(0, queue.requests - queue.running)
        free = slots - others - (self._kept_free if slots > 1 else 0)
        return max(0, min(free, self._most))
