"""The worker of jobs: what it says while its queue cannot be used."""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest

from runnerd.errors import DatabaseFailure
from runnerd.jobs import worker as workers
from runnerd.jobs.worker import Worker


async def test_trouble_is_said_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A queue that is away for long is one line until the reason is another one, and one at its
    end.
    """
    monkeypatch.setattr(workers, "_AGAIN", 0.0)
    caplog.set_level(logging.INFO)
    waits = asyncio.Event()

    async def wait_for_work(name: str) -> None:
        waits.set()
        await asyncio.Event().wait()

    away, full = DatabaseFailure("away"), DatabaseFailure("full")
    queue: Any = MagicMock()
    queue.claim = AsyncMock(side_effect=[away, away, away, full, full, []])
    queue.wait_for_work = wait_for_work
    worker = Worker(queue, MagicMock(), at_once=lambda: 1)
    worker.open()
    await waits.wait()
    await worker.close()
    assert [record.getMessage() for record in caplog.records] == [
        "jobs wait: away; trying again until it answers",
        "jobs wait: full; trying again until it answers",
        "jobs are worked on again",
    ]
