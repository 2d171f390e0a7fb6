"""What is told where a user's jobs have as much output and responses as they may have.

Jobs that are under way then fail, and so do those that wait when their turn comes: what they would
compute could not be kept.  They can be tried again once there is room.
"""

from __future__ import annotations

from runnerd.errors import LimitReached

_LATER = 3600.0  # seconds until some jobs may be old enough to be gone


def results_full(most: int) -> str:
    """Why a job has no result, or no more of it."""
    return (
        f"the results of its user's jobs take {most} bytes, which is the most (jobs.result_bytes):"
        " delete jobs that have ended (`runnerd jobs rm`), then `runnerd jobs retry`"
    )


def too_many_results(most: int) -> LimitReached:
    """Nothing more can be submitted."""
    return LimitReached(
        f"the results of your jobs take {most} bytes, which is the most (jobs.result_bytes);"
        " delete some (`runnerd jobs rm`), or wait until they are old enough",
        limit="jobs_result_bytes",
        retry_after=_LATER,
    )
