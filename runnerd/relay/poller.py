"""One epoll for all connections to engines; the event loop watches that and nothing else of them.

Most connections carry one response.  What a loop keeps of a descriptor, its handle, its callbacks
and its place among the loop's own, costs more than the descriptor; an entry of an epoll costs a
system call.  And an epoll can be asked for less than a loop can: to tell of the end of a connection
only.
"""

from __future__ import annotations

import asyncio
import logging
import select
from collections.abc import Callable

log = logging.getLogger(__name__)

READABLE, WRITABLE = select.EPOLLIN, select.EPOLLOUT
ENDED = select.EPOLLRDHUP
"""The other side has closed, or will send nothing more; there may be something left to read."""

_AT_ONCE = 128  # events that are handled before the loop goes on with other things
_ROUND = 0.05  # seconds between two looks at connections whose end is waited for

Handler = Callable[[int], None]


class Poller:
    """Calls the handler of a descriptor with what is the matter: readable, writable, ended.

    Whose end alone is waited for is called as well every now and then, as readable: its other side
    would have to stop once the kernel holds as much as it takes.
    """

    def __init__(self) -> None:
        self._handlers: dict[int, Handler] = {}
        self._waiting_for_end: set[int] = set()
        self._epoll: select.epoll | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._looking = False
        self._steps: list[Callable[[], None]] = []

    def watch(self, descriptor: int, handler: Handler, events: int) -> None:
        """Tell of these events from now on.  What was said of the descriptor before is forgotten.

        Handlers must not raise.
        """
        epoll = self._epoll
        if epoll is None:
            epoll = self._epoll = select.epoll()
            asyncio.get_running_loop().add_reader(epoll.fileno(), self._look)
        if descriptor in self._handlers:
            epoll.modify(descriptor, events)
        else:
            epoll.register(descriptor, events)
        self._handlers[descriptor] = handler
        if events == ENDED:
            self._waiting_for_end.add(descriptor)
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(_ROUND, self._round)
        else:
            self._waiting_for_end.discard(descriptor)

    def closing(self, descriptor: int) -> None:
        """Tell nothing more of a descriptor that is closed next: the kernel forgets it itself."""
        self._handlers.pop(descriptor, None)
        self._waiting_for_end.discard(descriptor)

    def forget(self, descriptor: int) -> None:
        """Tell nothing more of a descriptor that stays open.  Idempotent."""
        if self._handlers.pop(descriptor, None) is not None and self._epoll is not None:
            self._waiting_for_end.discard(descriptor)
            self._epoll.unregister(descriptor)

    def afterwards(self, step: Callable[[], None]) -> None:
        """Take a step once everything that has happened by now is handled; mostly that is now.

        Answers come several at a time.  Who waited for their places asks the engine after all of
        them have been passed on, in one go: it is woken once.  Steps must not raise.
        """
        if self._looking:
            self._steps.append(step)
        else:
            step()

    def close(self) -> None:
        """Give everything back."""
        self._handlers.clear()
        self._waiting_for_end.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        epoll, self._epoll = self._epoll, None
        if epoll is not None:
            asyncio.get_running_loop().remove_reader(epoll.fileno())
            epoll.close()

    def _look(self) -> None:
        if self._epoll is None:
            return
        handlers, steps = self._handlers, self._steps
        self._looking = True
        for descriptor, events in self._epoll.poll(0, _AT_ONCE):
            # A number may have been given back, and to another connection, since it was told of;
            # that one finds nothing to do.
            try:
                if (handler := handlers.get(descriptor)) is not None:
                    handler(events)
            except Exception:  # one that is in trouble must not stop the others
                log.exception("a connection to an engine could not be handled")
        self._looking = False
        while steps:
            taken, self._steps = steps, []
            for step in taken:
                step()
            steps = self._steps

    def _round(self) -> None:
        self._timer = None
        for descriptor in list(self._waiting_for_end):
            if (handler := self._handlers.get(descriptor)) is not None:
                handler(READABLE)
        if self._waiting_for_end:
            self._timer = asyncio.get_running_loop().call_later(_ROUND, self._round)
