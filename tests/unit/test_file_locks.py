"""runnerd.pulls.file_locks: one job fetches a file, the others see how far it is."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from runnerd.models.digest import Digest
from runnerd.pulls.file_locks import FileLocks
from runnerd.tasks import spawn
from tests.support.waiting import until

KEY = Digest.of(b"file")


class Job:
    """Notes what it is told of its progress."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def state_of(self, layer: str) -> Any:
        return SimpleNamespace(layer=layer, layer_size=10, layer_current=7)

    def progressed(self, layer: str, size: int, current: int) -> None:
        self.seen.append(current)


async def test_one_after_the_other() -> None:
    """Who waits reports the progress of who fetches; who leaves is not waited for."""
    locks, order = FileLocks(), []
    jobs = [Job() for _ in range(3)]
    release = asyncio.Event()

    async def fetch(number: int) -> None:
        async with locks.take(KEY, "layer", cast(Any, jobs[number])):
            order.append(number)
            await release.wait()

    tasks = [spawn(fetch(number), name="fetch") for number in range(3)]
    await until(lambda: jobs[1].seen and jobs[2].seen)
    assert order == [0]
    assert jobs[0].seen == []
    tasks[1].cancel()
    await asyncio.wait([tasks[1]])
    release.set()
    await asyncio.gather(tasks[0], tasks[2])
    assert order == [0, 2]
    assert locks._turns == {}


async def test_a_job_that_fails_lets_the_next_one() -> None:
    """The file is nobody's then."""
    locks, job = FileLocks(), cast(Any, Job())
    try:
        async with locks.take(KEY, "layer", job):
            raise ValueError
    except ValueError:
        pass
    async with locks.take(KEY, "layer", job):
        assert locks._turns[KEY].holder is job
