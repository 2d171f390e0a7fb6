"""Which of the fleet's jobs a host takes, and how many."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, cast

import pytest

from runnerd.jobs.fleet.daemon_client import DaemonClient, HostView, LoadedModel
from runnerd.jobs.fleet.host_jobs import HostJobs, ModelChoice
from runnerd.jobs.queue import Queue

NAMES = {"a": "1", "a:latest": "1", "b": "2"}


class FakeQueue:
    """Notes for which models jobs are claimed; has `waiting` of some."""

    wait_for_work = extend = append = finish = fail = release = waits = None

    def __init__(self, **waiting: int) -> None:
        self.waiting = waiting
        self.asked: list[set[str]] = []

    async def claim(
        self, worker: str, *, limit: int, lease: float, models: Collection[str]
    ) -> list[Any]:
        self.asked.append(set(models))
        found: list[Any] = []
        for model in models:
            while self.waiting.get(model, 0) and len(found) < limit:
                self.waiting[model] -= 1
                found.append(model)
        return found

    def tell_of_losses(self, listener: object) -> None:
        return None


def choice(queue: FakeQueue, view: HostView) -> ModelChoice:
    return ModelChoice(cast("Queue", queue), lambda: view, quantum=3600.0)


async def claimed(chosen: ModelChoice) -> list[Any]:
    """What is claimed."""
    return cast("list[Any]", await chosen.claim("w", limit=3))


async def test_what_is_loaded_first() -> None:
    """By all its names; another model only where there is room, one job, once a quantum."""
    queue = FakeQueue(a=10, b=10)
    chosen = choice(queue, HostView(NAMES, {"1": LoadedModel(4, 0)}))
    assert await claimed(chosen) == ["a", "a", "a"]
    assert await claimed(chosen) == ["a", "a", "a"]
    assert all(models == {"a", "a:latest"} for models in queue.asked)


async def test_a_host_with_nothing_to_do() -> None:
    """Takes one job of another model."""
    queue = FakeQueue(b=10)
    chosen = choice(queue, HostView(NAMES, {"1": LoadedModel(4, 0)}))
    assert await claimed(chosen) == ["b"]
    assert await claimed(chosen) == []  # within the quantum, and not idle


@pytest.mark.parametrize(
    ("loaded", "expected"),
    [
        ({}, 1),
        ({"1": LoadedModel(4, 0)}, 3),
        ({"1": LoadedModel(4, 2)}, 1),
        ({"1": LoadedModel(4, 9)}, 0),
        ({"1": LoadedModel(1, 0)}, 1),
        ({"1": LoadedModel(4, 0), "2": LoadedModel(2, 1)}, 3),
    ],
)
def test_as_many_as_slots_are_free(loaded: dict[str, LoadedModel], expected: int) -> None:
    """Less one of each model for people, and less what they use."""
    jobs = HostJobs(cast("Queue", FakeQueue()), cast("DaemonClient", None))
    assert jobs.at_once() == 0  # nobody has looked yet
    jobs.see(HostView(NAMES, loaded))
    assert jobs.at_once() == expected
