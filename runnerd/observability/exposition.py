"""Figures in Prometheus' text format, through its own library."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from runnerd.observability.metric_families import families
from runnerd.observability.snapshot import Snapshot


class _Figures(Collector):
    """Hands figures of one moment to the library."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        return families(self._snapshot)


def text(snapshot: Snapshot) -> bytes:
    """The figures, and those of the daemon's process.  Reads /proc."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(snapshot))
    ProcessCollector(registry=registry)
    return generate_latest(registry)
