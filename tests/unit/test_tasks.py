"""runnerd.tasks: what is said of a task that nobody awaits."""

from __future__ import annotations

import asyncio

import pytest

from runnerd import tasks
from runnerd.errors import NotFound


async def failing(error: Exception) -> None:
    raise error


async def test_a_mistake_is_logged_with_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    """What nobody foresaw shows where it came from."""
    await asyncio.wait([tasks.spawn(failing(ZeroDivisionError()), name="t")])
    [record] = caplog.records
    assert record.exc_info is not None
    assert record.getMessage() == "task t failed"


async def test_a_refusal_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """What a client did wrong is no trace in the daemon's log, and no warning."""
    caplog.set_level("INFO")
    await asyncio.wait([tasks.spawn(failing(NotFound("no such thing")), name="t")])
    [record] = caplog.records
    assert record.exc_info is None
    assert (record.levelname, record.getMessage()) == ("INFO", "task t failed: no such thing")


async def test_a_cancelled_task_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    """Cancelling waits for the end and says nothing."""
    task = tasks.spawn(asyncio.Event().wait(), name="t")
    await tasks.cancel_and_wait(task)
    assert task.cancelled()
    assert caplog.records == []
