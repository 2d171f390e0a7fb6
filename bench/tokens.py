"""Tokens per second of real engines with a tiny model, through the relay and without it."""

from __future__ import annotations

from dataclasses import replace

from bench.load import percentile, request
from bench.peers import ollama
from bench.relay import run_loop
from bench.report import Report
from bench.subjects import Stage, Subject, by_hand, stage

_ROUNDS = 5


def tokens(report: Report, seconds: float) -> None:
    """Print tokens per second at 1, 16 and 64 streams, and what relaying one costs; blocks
    alternate.

    The bare engine is started by hand.  runnerd's own, asked without the relay, shows what the
    relay takes of what runnerd's way of starting it brings.
    """
    report.section("Tokens per second, real engines, tiny model")
    with (
        stage() as running,
        by_hand(running.daemon.engines()[0]) as (bare, _),
        ollama() as other,
    ):
        own = replace(running.engine, name="its engine")
        for clients in (1, 16, 64):
            rates = _rates(report, [bare, own, running.relay], clients, seconds)
            bar = ">= 0.97" if clients == 64 else ""
            ratio = rates["runnerd"] / rates[bare.name]
            report.line(f"runnerd: of the bare engine, {clients} streams", f"{ratio:.3f}", bar)
            ratio = rates["runnerd"] / rates[own.name]
            report.line(f"runnerd: of its engine, {clients} streams", f"{ratio:.3f}")
            if other is not None:
                _rates(report, [other], clients, seconds)
        _large(report, running, seconds)


def _rates(
    report: Report, subjects: list[Subject], clients: int, seconds: float
) -> dict[str, float]:
    """Print and return each subject's tokens per second."""
    document = {"model": "bench", "stream": True, "max_tokens": 128, "ignore_eos": True}
    message = request("/v1/completions", {**document, "prompt": "x"})
    seen = {subject.name: (0, 0.0, 0.0) for subject in subjects}
    for subject in subjects * _ROUNDS:
        outcome, cpu = run_loop(subject, message, clients=clients, seconds=seconds / 2)
        events, walls, cpus = seen[subject.name]
        seen[subject.name] = events + outcome.events, walls + outcome.seconds, cpus + cpu
    for name, (events, walls, cpus) in seen.items():
        figures = f"{events / walls:,.0f} /s, {cpus / events * 1e6:.1f} us CPU each"
        report.line(f"{name}: tokens, {clients} streams", figures)
    return {name: events / walls for name, (events, walls, _) in seen.items()}


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
