"""How the jobs of a group stand, taken together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from runnerd.jobs.job import Job, JobState

_PAGE = 500


@dataclass(frozen=True, slots=True)
class GroupSummary:
    """How many jobs are in each state; `ended` is when the last one of those that have ended did,
    None while none has.
    """

    states: Mapping[JobState, int]
    ended: float | None

    @property
    def open(self) -> int:
        """How many have not ended."""
        return sum(number for state, number in self.states.items() if not state.ended)


async def summarized(
    page_before: Callable[[str | None, int], Awaitable[list[Job]]],
) -> GroupSummary:
    """The summary of jobs that come page by page: behind the one with an id, so many at most."""
    states: Counter[JobState] = Counter()
    ended: float | None = None
    last: str | None = None
    while page := await page_before(last, _PAGE):
        states.update(job.state for job in page)
        times = [job.ended for job in page if job.ended is not None]
        ended = max([*times, *([] if ended is None else [ended])], default=None)
        last = page[-1].id
    return GroupSummary(dict(states), ended)
