"""The output of a job that runs, on its way to the queue."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runnerd.errors import LeaseLost
from runnerd.jobs.output import Output


class Queue:
    """Keeps what it is handed, as long as the claim is its worker's."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, tuple[Any, ...]]] = []
        self.lost = False

    async def append(self, claim: Any, text: str, responses: Sequence[Any]) -> None:
        if self.lost:
            raise LeaseLost("another worker has it")
        self.kept.append((text, tuple(responses)))


def output(queue: Queue, *, streams: bool = True) -> Output:
    claim = SimpleNamespace(job=SimpleNamespace(streams=streams))
    return Output(cast(Any, queue), cast(Any, claim))


async def test_the_first_piece_goes_at_once_and_others_together() -> None:
    """Whoever watches sees it begin; an empty piece is none."""
    queue = Queue()
    found = output(queue)
    found.add("")
    assert found.due_in() is None
    found.add("a")
    assert found.due_in() == 0.0
    await found.flush()
    assert found.due_in() is None
    found.add("b")
    found.add("c")
    wait = found.due_in()
    assert wait is not None
    assert wait > 0.0
    await found.flush(cast(Any, ["response"]))
    assert queue.kept == [("a", ()), ("bc", ("response",))]


async def test_a_job_that_nobody_watches_hands_in_with_its_responses() -> None:
    """It is never due before; nothing of it is lost."""
    queue = Queue()
    found = output(queue, streams=False)
    found.add("a")
    assert found.due_in() is None
    await found.flush(cast(Any, ["response"]))
    assert queue.kept == [("a", ("response",))]


async def test_whoever_lost_the_job_hears_it() -> None:
    """And what was taken once is not handed in a second time."""
    queue = Queue()
    found = output(queue)
    found.add("a")
    assert found.take() == "a"
    queue.lost = True
    with pytest.raises(LeaseLost):
        await found.flush()
    assert found.take() == ""
