"""When a job is tried again."""

from __future__ import annotations

from runnerd.backoff import Backoff
from runnerd.jobs.job import Attempt, AttemptEnd
from runnerd.jobs.retries import RetryPolicy


def attempts(ends: str) -> list[Attempt]:
    """Attempts by letters: f failed, l lost."""
    known = {"f": AttemptEnd.FAILED, "l": AttemptEnd.LOST}
    return [Attempt("w", 0.0, 1.0, known[letter], "") for letter in ends]


def policy(jitter: float = 1.0) -> RetryPolicy:
    return RetryPolicy(failures=3, losses=2, backoff=Backoff(1.0, 3.0), jitter=lambda: jitter)


def test_pauses() -> None:
    """They grow up to a limit, with jitter, and lost workers cost none."""
    assert policy().pause(attempts("f")) == 1.0
    assert policy().pause(attempts("ff")) == 2.0
    assert policy(0.0).pause(attempts("ff")) == 1.0
    assert policy().pause(attempts("fl")) == 0.0


def test_the_end() -> None:
    """So many failures, or so many workers, are enough."""
    assert policy().pause(attempts("fff")) is None
    assert policy().pause(attempts("ll")) is None
    assert policy().pause(attempts("flf")) == 2.0
