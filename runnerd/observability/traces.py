"""Traces: one span for each request that has ended, sent to an OpenTelemetry collector.

The event loop appends to a bounded queue and does nothing else; a thread makes the spans and sends
them.  A collector that is slow or gone costs spans and one line of the log, never a request.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from runnerd import threads
from runnerd.errors import StartupError
from runnerd.observability.snapshot import Gauge
from runnerd.observability.trace_context import TracedRequest

log = logging.getLogger(__name__)

_WAITING = 8192  # requests that have ended and were not sent
_TOGETHER = 256  # requests in one message
_EVERY = 1.0  # seconds
_AFTER_FAILURE = 10.0  # seconds until the collector is tried again
_LAST = 2.0  # seconds for what is left at the end


class Sender(Protocol):
    """What makes spans of requests and sends them, in a thread."""

    def send(self, requests: Sequence[TracedRequest]) -> bool:
        """Whether the collector has taken them."""

    def close(self) -> None:
        """Give up what is being sent."""


class Traces:
    """The queue of requests that have ended, and the thread that sends their spans."""

    def __init__(
        self,
        sender: Sender,
        *,
        waiting: int = _WAITING,
        every: float = _EVERY,
        after_failure: float = _AFTER_FAILURE,
    ) -> None:
        self._sender = sender
        self._every, self._after_failure = every, after_failure
        self._most = waiting
        self._queue: deque[TracedRequest] = deque(maxlen=waiting)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._failing = False
        self.sent = 0
        self.dropped = 0  # because the queue was full
        self.failed = 0  # the collector did not take them

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def ended(self, request: TracedRequest) -> None:
        """A request has ended; the oldest makes room for it where too many wait."""
        if len(self._queue) >= self._most:
            self.dropped += 1
        self._queue.append(request)

    async def close(self) -> None:
        """Send what is left, for a moment, and end."""
        await threads.run(self._end)

    async def figures(self) -> Gauge:
        """What became of the requests, for `/metrics`."""
        counts = {"sent": self.sent, "dropped": self.dropped, "failed": self.failed}
        return Gauge(
            "runnerd_traced_requests",
            "Requests whose spans were sent, dropped because too many waited, or not taken.",
            ("outcome",),
            {(outcome,): float(count) for outcome, count in counts.items()},
        )

    def _end(self) -> None:
        self._ending.set()
        self._thread.join(_LAST)
        self._sender.close()
        self._thread.join(_LAST)

    def _run(self) -> None:
        while not self._ending.wait(self._after_failure if self._failing else self._every):
            self._send_all()
        self._send_all()

    def _send_all(self) -> None:
        while batch := self._take():
            if not self._send(batch):
                self.failed += len(batch)
                return

    def _take(self) -> list[TracedRequest]:
        batch: list[TracedRequest] = []
        while self._queue and len(batch) < _TOGETHER:  # nobody else takes
            batch.append(self._queue.popleft())
        return batch

    def _send(self, batch: Sequence[TracedRequest]) -> bool:
        try:
            taken = self._sender.send(batch)
        except Exception:
            log.exception("spans could not be made")
            return False
        if taken:
            self.sent += len(batch)
        if self._failing and taken:
            missing = self.failed + self.dropped
            log.info("the collector takes traces again; %d requests are missing", missing)
        elif not taken and not self._failing:
            log.warning("the collector takes no traces; they are dropped until it does")
        self._failing = not taken
        return taken


async def open_traces(
    endpoint: str, *, server: tuple[str, int | None], name_of: Callable[[str], str]
) -> Traces | None:
    """What sends traces to a collector, None without an endpoint.

    `server` is the daemon's address, `name_of` says what a model's id is called.  Raises
    errors.StartupError where the libraries are missing.
    """
    if not endpoint:
        return None
    sender = await threads.run(_sender, endpoint, server, name_of)
    traces = Traces(sender)
    traces.start()
    return traces


def _sender(endpoint: str, server: tuple[str, int | None], name_of: Callable[[str], str]) -> Sender:
    """The libraries are large: who sends no traces does not load them."""
    try:
        from runnerd.observability.trace_export import SpanSender
    except ImportError as error:
        raise StartupError(
            f"{error.name} is missing: the setting `traces` needs `pip install 'runnerd[traces]'`"
        ) from error
    return SpanSender(endpoint, server=server, name_of=name_of)
