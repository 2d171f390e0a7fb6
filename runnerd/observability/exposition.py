"""Figures in Prometheus' text format, through its own library.

The library takes several microseconds for each of a thousand lines, nearly all of them for what a
series is called.  So it writes each series once; from then on only the values are put in anew, and
of series that have not changed not even those.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client import ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from runnerd.observability.histogram import Histogram
from runnerd.observability.metric_families import Family, families
from runnerd.observability.snapshot import Snapshot

_Key = tuple[str, str, str, tuple[str, ...]]


class Exposition:
    """Writes figures, and remembers how it has written what is still there.  One at a time."""

    def __init__(self) -> None:
        self._families: dict[_Key, _FamilyText] = {}
        self._process = ProcessCollector(registry=None)

    def text(self, snapshot: Snapshot) -> bytes:
        """The figures, and those of the daemon's process.  Reads /proc."""
        return self.written(families(snapshot)) + generate_latest(self._process)

    def written(self, told: Iterable[Family]) -> bytes:
        """Families as text."""
        known, self._families = self._families, {}
        pieces: list[str] = []
        for family in told:
            key = family.kind, family.name, family.help, tuple(family.labels)
            self._families[key] = one = known.get(key) or _FamilyText(family)
            one.add_to(pieces, family)
        return "".join(pieces).encode()


class _FamilyText:
    """How one family was written."""

    def __init__(self, family: Family) -> None:
        self._head = _text(_metric(family))
        self._series: dict[tuple[str, ...], _Series] = {}  # by the values of their labels

    def add_to(self, pieces: list[str], family: Family) -> None:
        """Add the family's text as it is now; series that are gone are forgotten."""
        known, self._series = self._series, {}
        pieces.append(self._head)
        for labels, value in family.rows:
            key = tuple(labels)
            one = known.get(key) or _Series(_lines(family, labels, value))
            self._series[key] = one
            pieces.append(one.text(value))


class _Series:
    """How one series was written, and what its value was then."""

    __slots__ = ("_starts", "_text", "_version")

    def __init__(self, lines: Sequence[str]) -> None:
        self._starts = [line[: line.rindex(" ") + 1] for line in lines]
        self._version: str | tuple[Histogram, int] | None = None
        self._text = ""

    def text(self, value: float | Histogram) -> str:
        """Its lines with this value."""
        # A histogram may go on counting meanwhile: then it is written again next time.
        # By their text, numbers are told apart that count as equal: 0.0 and -0.0.
        version = (value, value.count) if isinstance(value, Histogram) else repr(value)
        if version != self._version:
            self._version = version
            values = map(floatToGoString, _values(value))
            pairs = zip(self._starts, values, strict=True)
            self._text = "".join([f"{start}{said}\n" for start, said in pairs])
        return self._text


def _values(value: float | Histogram) -> list[float]:
    """The values of a series' lines, in the library's order."""
    if not isinstance(value, Histogram):
        return [value]
    counts = [count for _, count in value.buckets()]
    return [*counts, counts[-1], value.total]


# the library's part


def _lines(family: Family, labels: Sequence[str], value: float | Histogram) -> list[str]:
    """The lines of one series as the library writes them."""
    metric = _metric(family)
    if isinstance(metric, HistogramMetricFamily):
        assert isinstance(value, Histogram)
        metric.add_metric(labels, value.buckets(), value.total)
    else:
        assert not isinstance(value, Histogram)
        metric.add_metric(labels, value)
    # Not `splitlines`: a label may have what that takes for an end of a line.
    lines = _text(metric).split("\n")
    return [line for line in lines if line and not line.startswith("#")]


def _metric(
    family: Family,
) -> GaugeMetricFamily | CounterMetricFamily | HistogramMetricFamily:
    """A family of the library, without series."""
    match family.kind:
        case "gauge":
            return GaugeMetricFamily(family.name, family.help, labels=family.labels)
        case "counter":
            return CounterMetricFamily(family.name, family.help, labels=family.labels)
        case "histogram":
            return HistogramMetricFamily(family.name, family.help, labels=family.labels)


class _One(Collector):
    """Hands one family to the library."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> list[Metric]:
        return [self._metric]


def _text(metric: Metric) -> str:
    return generate_latest(_One(metric)).decode()
