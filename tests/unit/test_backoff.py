"""Pauses after failures."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runnerd.backoff import Backoff


def test_pauses_double_up_to_the_longest() -> None:
    """And there is none before the first failure."""
    backoff = Backoff(first=1.0, longest=60.0)
    assert [backoff.pause(n) for n in range(9)] == [0, 1, 2, 4, 8, 16, 32, 60, 60]


@given(st.floats(0.001, 10), st.floats(10, 1000), st.integers(0, 10**9))
def test_any_number_of_failures_has_a_pause(first: float, longest: float, failures: int) -> None:
    """A host may be away for a month."""
    assert 0 <= Backoff(first, longest).pause(failures) <= longest
