"""The names of a model's runners."""

from __future__ import annotations

from runnerd.backends.configuration import BackendMode
from runnerd.observability.runner_names import RunnerNames
from runnerd.scheduler import RunnerState
from runnerd.supervisor import RunnerChange


def change(id: str, *models: str) -> RunnerChange:
    mode = BackendMode.COMPLETION
    return RunnerChange(id, "llama.cpp", models, "ref", mode, RunnerState.STARTING)


def test_names_of_a_model() -> None:
    """Each once, the newest last; of several models that share a runner each has it."""
    names = RunnerNames()
    for id in ("a", "b", "a"):
        names.changed(change(id, "m", "n"))
    assert names.of("m") == names.of("n") == ["b", "a"]
    assert names.of("x") == []
    names.changed(change("c"))
    assert names.of("ref") == ["c"]


def test_not_without_end() -> None:
    """The oldest are forgotten."""
    names = RunnerNames()
    for number in range(2000):
        names.changed(change(str(number), "m", f"m{number}"))
    assert len(names.of("m")) == 32
    assert names.of("m0") == []
