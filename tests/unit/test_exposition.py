"""Figures as Prometheus' library would write them all anew."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from runnerd.observability import exposition
from runnerd.observability.exposition import Exposition
from runnerd.observability.histogram import TOKENS, Histogram
from runnerd.observability.metric_families import Family, Row

_HOSTILE = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


class _Library(Collector):
    """The same families, with nothing remembered."""

    def __init__(self, families: list[Family]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return [_whole(family) for family in self._families]


def _whole(family: Family) -> Metric:
    if family.kind == "histogram":
        filled = HistogramMetricFamily(family.name, family.help, labels=family.labels)
        for labels, value in family.rows:
            assert isinstance(value, Histogram)
            filled.add_metric(labels, value.buckets(), value.total)
        return filled
    kind = GaugeMetricFamily if family.kind == "gauge" else CounterMetricFamily
    metric = kind(family.name, family.help, labels=family.labels)
    for labels, value in family.rows:
        assert not isinstance(value, Histogram)
        metric.add_metric(labels, value)
    return metric


def _families(labels: list[str], values: list[float], times: list[Histogram]) -> list[Family]:
    plain: list[Row] = [((name, "é"), value) for name, value in zip(labels, values, strict=True)]
    counted: list[Row] = [((name,), each) for name, each in zip(labels, times, strict=True)]
    return [
        Family("gauge", "g", "A gauge\nof \\ two lines.", ["z", "a"], plain),
        Family("counter", "c", "A counter.", ["z", "a"], plain),
        Family("histogram", "h", "Times.", ["model"], counted),
        Family("gauge", "none", "Without series.", ["model"], []),
        Family("gauge", "bare", "Without labels.", [], [((), 1.0)]),
    ]


@given(
    st.lists(_HOSTILE, max_size=4, unique=True),
    st.lists(st.lists(st.tuples(st.floats(), st.floats(0, 1e6)), min_size=4), max_size=4),
)
def test_each_time_it_is_what_the_library_writes(
    labels: list[str], rounds: list[list[tuple[float, float]]]
) -> None:
    """Whatever is in labels, and whatever has changed since the last time."""
    kept, times = Exposition(), [Histogram(TOKENS) for _ in labels]
    for each in rounds:
        values = [value for value, _ in each][: len(labels)]
        for histogram, (_, seen) in zip(times, each, strict=False):
            if seen > 10:
                histogram.observe(seen)
        families = _families(labels, values, times)
        assert kept.written(families) == generate_latest(_Library(families))


def test_only_new_series_are_written_by_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known costs a look at its value."""
    kept, histogram = Exposition(), Histogram(TOKENS)
    histogram.observe(3)
    kept.written(_families(["a"], [1.0], [histogram]))
    monkeypatch.setattr(exposition, "generate_latest", _refused)
    histogram.observe(4)
    text = kept.written(_families(["a"], [math.inf], [histogram])).decode()
    assert 'h_count{model="a"} 2.0\n' in text
    assert 'g{a="é",z="a"} +Inf\n' in text
    with pytest.raises(AssertionError):
        kept.written(_families(["b"], [1.0], [histogram]))


def test_series_that_are_gone_are_forgotten() -> None:
    """Names of models come and go."""
    kept = Exposition()
    for name in ("a", "b", "c"):
        kept.written([Family("gauge", "g", "A gauge.", ["model"], [((name,), 1.0)])])
    assert [list(family._series) for family in kept._families.values()] == [[("c",)]]


def _refused(*_: object) -> bytes:
    raise AssertionError("the library was asked")
