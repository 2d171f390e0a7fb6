"""Figures of what becomes of runners and transfers, counted as it happens."""

from __future__ import annotations

from collections import Counter

from runnerd.observability.histogram import LOADS, Histogram
from runnerd.pulls.transfer_tasks import TransferTask
from runnerd.scheduler import RunnerState
from runnerd.supervisor import RunnerChange

_MOST_MODELS = 200
_OTHERS = "(others)"


class RunnerFigures:
    """Counts by the id of the model that a runner was started for."""

    def __init__(self) -> None:
        self.starts: Counter[str] = Counter()
        self.loads: dict[str, Histogram] = {}
        self.stops: Counter[tuple[str, str]] = Counter()  # by model and reason
        self.failures: Counter[str] = Counter()

    def changed(self, change: RunnerChange) -> None:
        """A runner is in another state."""
        model = change.models[0] if change.models else change.model_ref
        if model not in self.starts and len(self.starts) >= _MOST_MODELS:
            model = _OTHERS
        match change.state:
            case RunnerState.STARTING:
                self.starts[model] += 1
            case RunnerState.READY:
                self.loads.setdefault(model, Histogram(LOADS)).observe(change.load_seconds or 0.0)
            case RunnerState.STOPPING:
                self.stops[model, change.reason or ""] += 1
            case RunnerState.FAILED:
                self.failures[model] += 1


class TransferFigures:
    """Counts pulls and pushes that have ended, and the bytes that they have moved."""

    def __init__(self) -> None:
        self.ended: Counter[tuple[str, str]] = Counter()  # by kind and outcome
        self.running: dict[str, TransferTask] = {}

    def changed(self, job: TransferTask) -> None:
        """A pull or push has begun or ended."""
        if not job.done:
            self.running[job.id] = job
            return
        self.running.pop(job.id, None)
        self.ended[job.kind, "failed" if job.failed else "done"] += 1
