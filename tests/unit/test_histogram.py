"""Histograms as Prometheus counts them."""

from __future__ import annotations

import bisect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.observability.histogram import SECONDS, Histogram


@given(st.lists(st.floats(0, 100)))
def test_buckets_count_what_is_at_most_as_large(values: list[float]) -> None:
    """Each its own and all before it, the last one everything."""
    histogram, ordered = Histogram(SECONDS), sorted(values)
    for value in values:
        histogram.observe(value)
    for bound, count in histogram.buckets():
        assert count == bisect.bisect_right(ordered, float(bound))
    assert histogram.buckets()[-1] == ("+Inf", len(values))
    assert histogram.total == pytest.approx(sum(values))
