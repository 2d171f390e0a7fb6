"""All figures at one moment, for who renders them elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from runnerd.observability.engine_series import EngineSample
from runnerd.observability.histogram import Histogram
from runnerd.observability.request_figures import ModelTimes, RequestKind
from runnerd.supervisor import DeviceReport, RunnerReport, WaitingReport


@dataclass(frozen=True, slots=True)
class Gauge:
    """One figure of another part of the daemon: `values` by its labels' values."""

    name: str
    help: str
    labels: Sequence[str]
    values: Mapping[tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All figures at one moment.  `name_of` says what a model's id is called."""

    version: str
    name_of: Callable[[str], str]
    requests: Mapping[RequestKind, int]
    times: Sequence[tuple[tuple[str, str], ModelTimes]]
    starts: Mapping[str, int]
    loads: Mapping[str, Histogram]
    stops: Mapping[tuple[str, str], int]
    failures: Mapping[str, int]
    transfers: Mapping[tuple[str, str], int]
    transferring: Counter[str]
    runners: Sequence[RunnerReport]
    waiting: Sequence[WaitingReport]
    running: int
    devices: Sequence[DeviceReport]
    lag_latest: float
    lag_worst: float
    engines: Mapping[str, Sequence[EngineSample]]
    others: Sequence[Gauge] = ()
