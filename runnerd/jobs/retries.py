"""When a job is tried again, and when it has failed for good."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runnerd.backoff import Backoff
from runnerd.jobs.job import Attempt, AttemptEnd

_BACKOFF = Backoff(1.0, 300.0)  # seconds


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`failures` tries may fail, and `losses` workers may be lost with a job.

    A worker that dies says little about the job, so many are forgiven; but a job that takes a
    worker with it each time ends as well.  `jitter` gives a number from 0 to 1: pauses are between
    half and all of the back-off's, so that what failed together is not tried again together.
    """

    failures: int = 4
    losses: int = 16
    backoff: Backoff = _BACKOFF
    jitter: Callable[[], float] = random.random

    def pause(self, attempts: Sequence[Attempt]) -> float | None:
        """Seconds until the next try, None: no more tries."""
        failed = sum(attempt.end is AttemptEnd.FAILED for attempt in attempts)
        if failed >= self.failures or len(attempts) - failed >= self.losses:
            return None
        if attempts and attempts[-1].end is AttemptEnd.LOST:
            return 0.0
        return self.backoff.pause(failed) * (0.5 + self.jitter() / 2)
