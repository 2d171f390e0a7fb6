"""What is seen of the daemon, as one thing for those who feed it and those who show it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from runnerd.access import Principal
from runnerd.observability.event_bus import EventBus, EventKind
from runnerd.observability.loop_lag import LoopLag
from runnerd.observability.metrics import Metrics
from runnerd.observability.runner_names import RunnerNames
from runnerd.observability.speeds import Speeds
from runnerd.observability.trace_context import TracedRequest
from runnerd.observability.traces import Traces
from runnerd.pulls.transfer_tasks import TransferTask
from runnerd.supervisor import RunnerChange, Supervisor


class Observability:
    """The parts of this room, and who feeds them."""

    def __init__(
        self,
        supervisor: Supervisor,
        *,
        name_of: Callable[[str], str],
        running: Callable[[], int],
        traces: Traces | None = None,
    ) -> None:
        """`name_of` says what a model's id is called, `running` how many requests run or wait."""
        self.events = EventBus()
        self.loop_lag = LoopLag()
        self.metrics = Metrics(supervisor, self.loop_lag, name_of=name_of, running=running)
        self.runner_names = RunnerNames()
        self.speeds = Speeds()
        self._traces = traces
        if traces is not None:
            self.metrics.sources += (traces.figures,)
        supervisor.changes.subscribe(self._runner_changed)

    def request_ended(self, principal: Principal, record: TracedRequest) -> None:
        """A request of a principal has ended; called for each, so it does next to nothing."""
        self.metrics.requests.ended(principal.kind, record)
        self.events.publish(EventKind.REQUEST, record)
        if self._traces is not None:
            self._traces.ended(record)

    def transfer_changed(self, job: TransferTask) -> None:
        """A pull or push has begun or ended."""
        self.metrics.transfers.changed(job)
        self.events.publish(EventKind.TRANSFER, job)

    def _runner_changed(self, change: RunnerChange) -> None:
        self.metrics.runners.changed(change)
        self.runner_names.changed(change)
        self.events.publish(EventKind.RUNNER, change)

    def from_threads(self, kind: EventKind) -> Callable[[], None]:
        """What publishes an event without a subject from any thread; to be called on the loop."""
        loop = asyncio.get_running_loop()

        def publish() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody watches
                loop.call_soon_threadsafe(self.events.publish, kind, None)

        return publish
