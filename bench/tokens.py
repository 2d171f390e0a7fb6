"""Tokens per second of the real engine with a tiny model, through the relay and without it."""

from __future__ import annotations

from bench.load import percentile, request
from bench.relay import run_loop
from bench.report import Report
from bench.subjects import Stage, stage


def tokens(report: Report, seconds: float) -> None:
    """Print the ratio at 1, 16 and 64 streams; blocks alternate."""
    report.section("Tokens per second, real llama-server, tiny model")
    document = {"model": "bench", "stream": True, "max_tokens": 128, "ignore_eos": True}
    message = request("/v1/completions", {**document, "prompt": "x"})
    with stage() as running:
        for clients in (1, 16, 64):
            rates = {running.engine.name: 0.0, running.relay.name: 0.0}
            for subject in [running.engine, running.relay] * 3:
                outcome, _ = run_loop(subject, message, clients=clients, seconds=seconds / 2)
                rates[subject.name] += outcome.events / outcome.seconds / 3
            ratio = rates[running.relay.name] / rates[running.engine.name]
            seen = " / ".join(f"{rate:,.0f}" for rate in rates.values())
            report.line(f"bare engine / runnerd, {clients} streams", f"{seen} /s")
            bar = ">= 0.97" if clients == 64 else ""
            report.line(f"ratio, {clients} streams", f"{ratio:.3f}", bar)
        _large(report, running, seconds)


def _large(report: Report, running: Stage, seconds: float) -> None:
    """200 KB of text to an engine that really reads it."""
    document: dict[str, object] = {"model": "bench", "content": "word " * 40_000}
    messages = {
        running.engine.name: request("/tokenize", document),
        running.relay.name: request("/v1/tokenize", document),
    }
    found: dict[str, list[float]] = {name: [] for name in messages}
    for subject in [running.engine, running.relay] * 3:
        outcome, _ = run_loop(subject, messages[subject.name], clients=1, seconds=seconds / 2)
        found[subject.name] += outcome.latencies
    bare, ours = (percentile(values, 0.5) * 1e3 for values in found.values())
    report.line("bare engine / runnerd, 200 KB to tokenize, p50", f"{bare:.2f} / {ours:.2f} ms")
    report.line("runnerd: of the bare engine's p50", f"{ours / bare:.2f}", "<= 2")
