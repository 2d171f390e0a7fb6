"""runnerd.jobs.group_summary: many jobs, page by page."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from runnerd.jobs.group_summary import summarized
from runnerd.jobs.job import Job, JobState


async def test_all_pages_are_counted() -> None:
    """The last end is that of any page, and what has not ended is open."""
    states = [JobState.QUEUED, JobState.COMPLETED, JobState.FAILED, JobState.RUNNING]
    jobs: list[Any] = [
        SimpleNamespace(id=str(n), state=states[n % 4], ended=float(n) if n % 4 in (1, 2) else None)
        for n in range(1203)
    ]
    asked = []

    async def page(last: str | None, most: int) -> list[Job]:
        asked.append(last)
        start = 0 if last is None else int(last) + 1
        return jobs[start : start + most]

    summary = await summarized(page)
    assert asked == [None, "499", "999", "1202"]
    assert sum(summary.states.values()) == 1203
    assert summary.open == summary.states[JobState.QUEUED] + summary.states[JobState.RUNNING]
    assert summary.ended == 1202.0


async def test_no_job_has_ended() -> None:
    """Nor is there one."""

    async def page(last: str | None, most: int) -> list[Job]:
        return []

    summary = await summarized(page)
    assert (summary.open, summary.ended, summary.states) == (0, None, {})
