"""Tokens per second of the real engine with a tiny model, through the relay and without it."""

from __future__ import annotations

from dataclasses import replace

from bench.load import percentile, request
from bench.relay import run_loop
from bench.report import Report
from bench.subjects import Stage, by_hand, stage


def tokens(report: Report, seconds: float) -> None:
    """Print the ratio at 1, 16 and 64 streams; blocks alternate.

    The bare engine is started by hand.  runnerd's own, asked without the relay, shows what the
    relay takes of what runnerd's way of starting it brings.
    """
    report.section("Tokens per second, real llama-server, tiny model")
    document = {"model": "bench", "stream": True, "max_tokens": 128, "ignore_eos": True}
    message = request("/v1/completions", {**document, "prompt": "x"})
    with stage() as running, by_hand(running.daemon.engines()[0]) as (bare, _):
        own = replace(running.engine, name="its engine")
        for clients in (1, 16, 64):
            rates = {subject.name: 0.0 for subject in (bare, own, running.relay)}
            for subject in [bare, own, running.relay] * 5:
                outcome, _ = run_loop(subject, message, clients=clients, seconds=seconds / 2)
                rates[subject.name] += outcome.events / outcome.seconds / 5
            seen = " / ".join(f"{rate:,.0f}" for rate in rates.values())
            report.line(f"{' / '.join(rates)}, {clients} streams", f"{seen} /s")
            bar = ">= 0.97" if clients == 64 else ""
            ratio = rates[running.relay.name] / rates[bare.name]
            report.line(f"runnerd: of the bare engine, {clients} streams", f"{ratio:.3f}", bar)
            ratio = rates[running.relay.name] / rates[own.name]
            report.line(f"runnerd: of its engine, {clients} streams", f"{ratio:.3f}")
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
