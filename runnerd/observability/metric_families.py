"""The daemon's figures as Prometheus' families, at one moment.

Names and labels follow OpenTelemetry's conventions for generative AI where these have one
(`gen_ai_...`); the others begin with `runnerd_`.  `exposition` writes them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from runnerd.observability.engine_series import EngineSample
from runnerd.observability.histogram import Histogram
from runnerd.observability.request_figures import operation_name
from runnerd.observability.snapshot import Snapshot
from runnerd.supervisor import RunnerReport, WaitingReport

_GEN_AI = ("gen_ai_operation_name", "gen_ai_request_model")

Labels = Sequence[str]
Row = tuple[Labels, float | Histogram]
"""The values of a series' labels, and its value now."""


class Family(NamedTuple):
    """Series of one name.  A counter's name is without `_total`, which its series end in."""

    kind: Literal["gauge", "counter", "histogram"]
    name: str
    help: str
    labels: Labels
    rows: Sequence[Row]


def families(now: Snapshot) -> Iterator[Family]:
    """Every family."""
    yield _gauge(
        "runnerd_build_info", "The daemon, by version.", ["version"], [([now.version], 1.0)]
    )
    yield from _of_requests(now)
    yield from _of_times(now)
    yield from _of_loads(now)
    yield from _of_runners(now)
    yield from _of_host(now)
    yield from _of_engines(now)
    for gauge in now.others:
        yield _gauge(gauge.name, gauge.help, gauge.labels, gauge.values.items())


def _of_requests(now: Snapshot) -> Iterator[Family]:
    counts = Counter[tuple[str, ...]]()
    for kind, count in now.requests.items():
        model = now.name_of(kind.model)
        counts[model, kind.operation, kind.origin, kind.principal, str(kind.status)] += count
    yield _counter(
        "runnerd_requests",
        "Inference requests that have ended, refused ones too.",
        ["model", "operation", "origin", "principal", "status"],
        counts.items(),
    )
    yield _gauge(
        "runnerd_requests_running", "Requests that run or wait.", [], [([], float(now.running))]
    )
    yield _gauge(
        "runnerd_requests_waiting",
        "Requests that wait for a runner of a model, or for room.",
        ["model", "mode"],
        [([_model(now, each), each.mode], float(each.waiting)) for each in now.waiting],
    )


def _of_times(now: Snapshot) -> Iterator[Family]:
    times = [
        ([operation_name(operation), now.name_of(model)], each)
        for (model, operation), each in now.times
    ]
    yield _histogram(
        "gen_ai_server_request_duration_seconds",
        "From a complete request to the end of its response.",
        [*_GEN_AI, "error_type"],
        [
            ([*labels, error], one)
            for labels, each in times
            for error, one in list(each.durations.items())
        ],
    )
    yield _histogram(
        "gen_ai_server_time_to_first_token_seconds",
        "From a complete request to the first of its stream.",
        _GEN_AI,
        [(labels, each.first_token) for labels, each in times],
    )
    yield _histogram(
        "gen_ai_server_time_per_output_token_seconds",
        "Of a stream, for each token after the first.",
        _GEN_AI,
        [(labels, each.each_token) for labels, each in times],
    )
    yield _histogram(
        "gen_ai_client_token_usage",
        "Tokens of a request's prompt and of its response.",
        [*_GEN_AI, "gen_ai_token_type"],
        [
            ([*labels, kind], one)
            for labels, each in times
            for kind, one in (("input", each.prompt), ("output", each.generated))
        ],
    )
    yield _histogram(
        "runnerd_queue_wait_seconds",
        "Until a request had a runner, loads included.",
        _GEN_AI,
        [(labels, each.waits) for labels, each in times],
    )
    yield _counter(
        "runnerd_cached_prompt_tokens",
        "Tokens of prompts that an engine had evaluated before.",
        _GEN_AI,
        [(labels, float(each.cached_tokens)) for labels, each in times],
    )


def _of_loads(now: Snapshot) -> Iterator[Family]:
    yield _counter(
        "runnerd_loads",
        "Starts of runners.",
        ["model"],
        [([now.name_of(model)], count) for model, count in now.starts.items()],
    )
    yield _histogram(
        "runnerd_load_duration_seconds",
        "From a runner's start until it was ready.",
        ["model"],
        [([now.name_of(model)], each) for model, each in now.loads.items()],
    )
    yield _counter(
        "runnerd_stops",
        "Runners that were stopped, by reason; evicted ones made room for another model.",
        ["model", "reason"],
        [([now.name_of(model), reason], n) for (model, reason), n in now.stops.items()],
    )
    yield _counter(
        "runnerd_failures",
        "Runners that crashed, hung or could not be loaded.",
        ["model"],
        [([now.name_of(model)], count) for model, count in now.failures.items()],
    )
    yield _counter(
        "runnerd_transfers",
        "Pulls and pushes that have ended.",
        ["kind", "outcome"],
        now.transfers.items(),
    )
    yield _gauge(
        "runnerd_transfers_running",
        "Pulls and pushes that are under way.",
        ["kind"],
        [([kind], float(now.transferring[kind])) for kind in ("pull", "push")],
    )


def _of_runners(now: Snapshot) -> Iterator[Family]:
    states = Counter((_model(now, each), each.mode.value, each.state.value) for each in now.runners)
    yield _gauge(
        "runnerd_runners",
        "Runners by state; failed: models that have none because it failed.",
        ["model", "mode", "state"],
        states.items(),
    )
    slots, used = Counter[tuple[str, ...]](), Counter[tuple[str, ...]]()
    memory = Counter[tuple[str, ...]]()
    for report in now.runners:
        key = (_model(now, report), report.mode.value)
        slots[key] += report.slots or 0
        used[key] += report.in_use
        for device, amount in report.reserved.items():
            memory[(*key, device, "reserved")] += amount
        for device, amount in (report.held or {}).items():
            memory[(*key, device, "held")] += amount
    labels = ["model", "mode"]
    yield _gauge("runnerd_slots", "Requests that runners take at a time.", labels, slots.items())
    yield _gauge("runnerd_requests_served", "Requests at runners.", labels, used.items())
    yield _gauge(
        "runnerd_model_memory_bytes",
        "What is reserved for the runners of a model, and what they were seen to hold.",
        [*labels, "device", "kind"],
        memory.items(),
    )


def _of_host(now: Snapshot) -> Iterator[Family]:
    amounts = [
        ([device.id, kind], float(getattr(device, kind)))
        for device in now.devices
        for kind in ("total", "free", "limit", "reserved", "held", "others")
    ]
    yield _gauge(
        "runnerd_device_memory_bytes",
        "Memory of a device: in all, free, what runners may have, what is reserved for them, what"
        " they were seen to hold, and what other programs use.",
        ["device", "kind"],
        amounts,
    )
    yield _gauge(
        "runnerd_event_loop_lag_seconds",
        "How late the event loop was: at the last look, and at most in the last minute.",
        ["kind"],
        [(["latest"], now.lag_latest), (["worst"], now.lag_worst)],
    )


def _of_engines(now: Snapshot) -> Iterator[Family]:
    """The engines' own series; a runner's name tells instances of a model apart."""
    models = {report.id: _model(now, report) for report in now.runners}
    firsts: dict[str, EngineSample] = {}
    rows: dict[str, list[Row]] = {}
    for runner, samples in now.engines.items():
        labels = (models.get(runner, ""), runner)
        for sample in samples:
            firsts.setdefault(sample.name, sample)
            rows.setdefault(sample.name, []).append((labels, sample.value))
    for name, first in firsts.items():
        # What is called a counter but not named like one (a maximum) can be told as a gauge only.
        make = _counter if first.type == "counter" and name.endswith("_total") else _gauge
        yield make(
            name.removesuffix("_total") if make is _counter else name,
            first.help,
            ["model", "runner"],
            rows[name],
        )


def _model(now: Snapshot, report: RunnerReport | WaitingReport) -> str:
    """What a runner's model is called, the first of several."""
    return now.name_of(report.models[0]) if report.models else report.model_ref


# families of one kind each


def _gauge(name: str, help: str, labels: Labels, rows: Iterable[Row]) -> Family:
    return Family("gauge", name, help, labels, list(rows))


def _counter(name: str, help: str, labels: Labels, rows: Iterable[Row]) -> Family:
    return Family("counter", name, help, labels, list(rows))


def _histogram(
    name: str, help: str, labels: Labels, rows: Iterable[tuple[Labels, Histogram]]
) -> Family:
    filled = [(values, each) for values, each in rows if each.count]
    return Family("histogram", name, help, labels, filled)
