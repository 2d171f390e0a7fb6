"""What becomes of runners, counted."""

from __future__ import annotations

from typing import Any

from runnerd.backends.configuration import BackendMode
from runnerd.observability.runner_figures import RunnerFigures
from runnerd.scheduler import RunnerState
from runnerd.supervisor import RunnerChange


def change(state: RunnerState, model: str = "m", **said: Any) -> RunnerChange:
    return RunnerChange("r", "llama.cpp", (model,), "ref", BackendMode.COMPLETION, state, **said)


def test_a_life() -> None:
    """Started, ready after some seconds, stopped for a reason; another failed."""
    figures = RunnerFigures()
    figures.changed(change(RunnerState.STARTING))
    figures.changed(change(RunnerState.READY, load_seconds=2.0))
    figures.changed(change(RunnerState.STOPPING, reason="evicted", load_seconds=2.0))
    figures.changed(change(RunnerState.STOPPED, load_seconds=2.0))
    figures.changed(change(RunnerState.STARTING))
    figures.changed(change(RunnerState.FAILED, failure="it crashed"))
    assert figures.starts == {"m": 2}
    assert figures.loads["m"].total == 2.0
    assert figures.stops == {("m", "evicted"): 1}
    assert figures.failures == {"m": 1}


def test_models_without_end() -> None:
    """Are counted together from some on."""
    figures = RunnerFigures()
    for number in range(1000):
        figures.changed(change(RunnerState.STARTING, f"m{number}"))
    assert len(figures.starts) == 201
    assert sum(figures.starts.values()) == 1000
