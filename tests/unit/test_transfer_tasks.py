"""Followers of a job: each sees where everything is, then what changes, then the end."""

from __future__ import annotations

import asyncio

import pytest

from runnerd.errors import Conflict, InternalError, ModelNotFound
from runnerd.models.digest import Digest
from runnerd.models.intake import Progress
from runnerd.models.model import Model
from runnerd.pulls.file_locks import FileLocks
from runnerd.pulls.transfer_tasks import Subscription, TransferTask

KEY = Digest("a" * 64)


class Stage:
    """A job whose work waits for the test."""

    def __init__(self, error: Exception | None = None) -> None:
        self.job = TransferTask("pull", "x")
        self.finish = asyncio.Event()
        self.ended = 0
        self._error = error

    def start(self) -> TransferTask:
        async def work() -> Model:
            await self.finish.wait()
            if self._error is not None:
                raise self._error
            return None  # type: ignore[return-value]

        def ended() -> None:
            self.ended += 1

        self.job.start(work, ended)
        return self.job


async def test_late_follower_sees_the_newest_of_each_file() -> None:
    """What was before is summed up; what comes then is seen; the end ends it."""
    stage = Stage()
    job = stage.start()
    job.total = 30
    job.say("hello")
    job.progressed("a", 10, 1)
    job.progressed("a", 10, 10)
    job.progressed("b", 20, 5)
    subscription = Subscription(job)
    seen = [await anext(subscription) for _ in range(3)]
    assert [(step.message, step.layer, step.layer_current) for step in seen] == [
        ("hello", "", 0),
        ("", "a", 10),
        ("", "b", 5),
    ]
    waiting = asyncio.get_running_loop().create_task(anext(subscription))
    await asyncio.sleep(0)
    job.progressed("b", 20, 20)
    assert (await waiting).layer_current == 20
    assert job.current == 30
    stage.finish.set()
    with pytest.raises(StopAsyncIteration):
        await anext(subscription)
    assert (stage.ended, job.done) == (1, True)


def test_who_asks_is_told_how_far_it_is_at_that_moment() -> None:
    """Reports that come too fast for followers count all the same: nothing more may come."""
    job = Stage().job
    for current in range(1, 8):
        job.progressed("a", 10, current)
        assert job.current == current
        assert job.state_of("a") == Progress(0, "a", 10, current)
        assert job.to_json()["layers"] == [{"id": "a", "size": 10, "current": current}]
        assert job.to_json()["total"] == 10  # nobody has told of the whole before


@pytest.mark.parametrize(
    ("error", "expected"),
    [(ModelNotFound("gone"), ModelNotFound), (ZeroDivisionError(), InternalError)],
)
async def test_every_follower_gets_the_error(error: Exception, expected: type[Exception]) -> None:
    """A failure reaches all; one that nobody foresaw says nothing of its inside."""
    stage = Stage(error)
    followers = [Subscription(stage.start()), Subscription(stage.job)]
    stage.finish.set()
    for follower in followers:
        with pytest.raises(expected):
            await follower.result()


async def test_cancelled_job_says_so() -> None:
    """A cancelled job is an error of its own, with the reason that was given."""
    stage = Stage()
    job = stage.start()
    await asyncio.sleep(0)
    job.cancel("closing time")
    with pytest.raises(Conflict, match="closing time"):
        await Subscription(job).result()
    assert stage.ended == 1


async def test_turns_are_one_at_a_time() -> None:
    """The second job waits, shows the first one's progress, and then has its turn."""
    turns, first, second = FileLocks(), TransferTask("pull", "a"), TransferTask("pull", "b")
    inside: list[str] = []

    async def use(job: TransferTask) -> None:
        async with turns.take(KEY, "layer", job):
            inside.append(job.reference)

    async with turns.take(KEY, "layer", first):
        first.progressed("layer", 10, 4)
        waiting = asyncio.get_running_loop().create_task(use(second))
        while second.state_of("layer") is None:
            await asyncio.sleep(0)
        assert inside == []
    await waiting
    assert inside == ["b"]
    cancelled = asyncio.get_running_loop().create_task(use(second))
    async with turns.take(KEY, "layer", first):
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.wait([cancelled])
    assert turns._turns == {}
