"""The relay against the synthetic engine: cost, latency, throughput, memory, cancelling, refusing.

Wall-clock figures on two cores include the load and the engine, which run on the same cores; CPU
time of the daemon's process (user and system) is the figure to compare.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvloop

from bench.load import Outcome, ask, closed_loop, hold, percentile, request
from bench.peers import bare_relay, peers
from bench.report import Report
from bench.subjects import Stage, Subject, synthetic

_CHAT = "/v1/chat/completions"
_EMBED: dict[str, object] = {"model": "bench", "input": "x" * 900, "bench": "once"}
_ONCE = request("/v1/embeddings", _EMBED)
_ALL_AT_ONCE: dict[str, object] = {"overcommit": 0}
"""Every request goes to the engine: what is measured is so many of them there, not the queue."""
_TURNS = 8


def assembled(chunks: int) -> bytes:
    """Return a chat request for a whole response, which the engine gives in so many chunks."""
    messages = [{"role": "user", "content": "x" * 900}]
    return request(_CHAT, {"model": "bench", "messages": messages, "bench": f"stream:{chunks}:0"})


def stream(chunks: int, milliseconds: int = 0) -> bytes:
    """Return a chat request for a stream of so many chunks."""
    order = f"stream:{chunks}:{milliseconds}"
    return request(
        _CHAT,
        {
            "model": "bench",
            "stream": True,
            "messages": [{"role": "user", "content": "x" * 900}],
            "bench": order,
        },
    )


def run_loop(
    subject: Subject,
    message: bytes,
    *,
    clients: int,
    seconds: float,
    stamped: bool = False,
    pause: float = 0.0,
) -> tuple[Outcome, float]:
    """Load `subject`; return the outcome and the CPU seconds of its process."""
    before = subject.cpu()
    outcome = uvloop.run(
        closed_loop(
            subject.socket, message, clients=clients, seconds=seconds, stamped=stamped, pause=pause
        )
    )
    return outcome, subject.cpu() - before


def requests(report: Report, seconds: float) -> None:
    """Small requests and chunks per second, and the CPU time of each."""
    report.section("Cost and throughput (32 connections, synthetic engine)")
    with (
        synthetic() as stage,
        synthetic(**_ALL_AT_ONCE) as no_queue,
        bare_relay(stage.engine.socket) as bare,
        peers(stage.engine.socket) as found,
    ):
        others = [bare, *found]
        direct = replace(no_queue.relay, name="runnerd, overcommit = 0")
        ours = [stage.relay, direct]
        _small(report, [*ours, *others], _ONCE, "small requests", seconds, bars=(45, 40))
        for chunks, bars in ((1, ()), (16, (100, 100))):
            _small(report, ours, assembled(chunks), f"assembled chats of {chunks}", seconds, bars)
        everybody = [*ours, *others]
        short = _small(report, everybody, stream(1), "streams of one chunk", seconds)
        for subject, each in zip(everybody, short, strict=True):
            _chunks(report, subject, seconds, short=each, bars=subject is stage.relay)
        _with_key(report, stage, seconds)


def _small(
    report: Report,
    subjects: Sequence[Subject],
    message: bytes,
    what: str,
    seconds: float,
    bars: Sequence[int] = (),
) -> list[float]:
    """Print cost and rate of one kind of request; return the CPU seconds of one for each subject.

    The subjects are measured in turns: what else the machine does for a moment meets all of them.
    """
    spent, answers, took = ([0.0] * len(subjects) for _ in range(3))
    for subject in subjects:
        run_loop(subject, message, clients=32, seconds=min(1.0, seconds))
    for _ in range(_TURNS):
        for number, subject in enumerate(subjects):
            outcome, cpu = run_loop(subject, message, clients=32, seconds=seconds / _TURNS)
            _check(outcome, subject)
            spent[number] += cpu
            answers[number] += outcome.answers
            took[number] += outcome.seconds
    found = [cpu / max(1, count) for cpu, count in zip(spent, answers, strict=True)]
    for number, subject in enumerate(subjects):
        each = found[number] * 1e6
        bar = f"<= {bars[number]} us" if number < len(bars) else ""
        report.line(f"{subject.name}: {what}, CPU each", f"{each:.1f} us", bar)
        report.line(
            f"{subject.name}: {what} per second", f"{answers[number] / took[number]:,.0f} /s"
        )
    return found


def _with_key(report: Report, stage: Stage, seconds: float) -> None:
    """What a small request costs more with a user's key than without; in turns, since the two are
    near each other.
    """
    users = stage.daemon.http
    said = {"models": ["bench", "ai/*"], "limits": {"requests_per_minute": 10**6}}
    plain = users.post("/runnerd/users", json={"name": "plain"}).json()["key"]
    full = users.post("/runnerd/users", json={"name": "full"} | said).json()["key"]
    messages = {"no key": _ONCE, "a key": request("/v1/embeddings", _EMBED, key=plain)}
    messages["a key with grants and limits"] = request("/v1/embeddings", _EMBED, key=full)
    spent = dict.fromkeys(messages, 0.0)
    answers = dict.fromkeys(messages, 0)
    for _ in range(6):
        for what, message in messages.items():
            outcome, cpu = run_loop(stage.relay, message, clients=32, seconds=seconds / 3)
            _check(outcome, stage.relay)
            spent[what] += cpu
            answers[what] += outcome.answers
    each = {what: spent[what] / max(1, answers[what]) * 1e6 for what in messages}
    for what in list(messages)[1:]:
        more = each[what] - each["no key"]
        bar = "<= 2 us" if what == "a key" else ""
        report.line(f"runnerd: small requests, CPU more with {what}", f"{more:+.2f} us", bar)


def _chunks(report: Report, subject: Subject, seconds: float, *, short: float, bars: bool) -> None:
    """CPU per chunk: from streams of 2,048 chunks, less what a stream of one costs (`short`)."""
    outcome, cpu = run_loop(subject, stream(2048), clients=32, seconds=seconds)
    _check(outcome, subject)
    each = (cpu - short * outcome.answers) / max(1, outcome.events) * 1e6
    report.line(
        f"{subject.name}: CPU per streamed chunk (flood)",
        f"{each:.2f} us",
        "<= 2.5 us" if bars else "",
    )
    report.line(
        f"{subject.name}: chunks per second (flood)",
        f"{outcome.events / outcome.seconds:,.0f} /s",
    )


def latency(report: Report, seconds: float) -> None:
    """Added latency against the bare engine's socket, alternating, for small requests."""
    report.section("Added latency (closed loop; p50 / p99 in ms)")
    with synthetic() as stage, peers(stage.engine.socket) as others:
        for clients in (1, 32, 256):
            subjects = [stage.engine, stage.relay, *others]
            found = _alternate(subjects, _ONCE, clients, seconds)
            _latencies(report, found, clients, "answer")
        found = {}
        for subject in [stage.engine, stage.relay, *others]:
            outcome, _ = run_loop(subject, stream(4, 1), clients=1, seconds=seconds)
            found[subject.name] = outcome.first_bytes
        _latencies(report, found, 1, "first byte of a stream")


def _alternate(
    subjects: list[Subject], message: bytes, clients: int, seconds: float
) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {subject.name: [] for subject in subjects}
    for _ in range(4):
        for subject in subjects:
            outcome, _ = run_loop(subject, message, clients=clients, seconds=seconds / 4)
            _check(outcome, subject)
            found[subject.name] += outcome.latencies
    return found


def _latencies(
    report: Report, found: dict[str, list[float]], clients: int, what: str, *, bars: bool = True
) -> None:
    bare = found["bare engine"]
    for name, values in found.items():
        p50, p99 = percentile(values, 0.5) * 1e3, percentile(values, 0.99) * 1e3
        report.line(f"{name}: {what}, {clients} clients", f"{p50:.3f} / {p99:.3f}")
        if values is not bare:
            added50 = p50 - percentile(bare, 0.5) * 1e3
            added99 = p99 - percentile(bare, 0.99) * 1e3
            bar = "<= 0.2 / 0.8" if bars and name == "runnerd" and clients == 1 else ""
            report.line(f"{name}: added", f"{added50:+.3f} / {added99:+.3f}", bar)


def held(report: Report, seconds: float) -> None:
    """Memory of open streams."""
    report.section("Streams held open")
    for count in (1000, 5000) if seconds >= 1 else (200,):
        with synthetic(
            limits__connections=count + 200,
            limits__requests_per_runner=count + 200,
            **_ALL_AT_ONCE,
        ) as stage:
            uvloop.run(_held(report, stage, count))


async def _held(report: Report, stage: Stage, count: int) -> None:
    first = await hold(stage.relay.socket, _hold(), 50)
    before = stage.relay.memory()
    streams = await hold(stage.relay.socket, _hold(), count)
    each = (stage.relay.memory() - before) / count
    report.line(f"runnerd: memory per stream, {count} open", f"{each / 1024:.1f} KiB", "< 25 KB")
    for transport in first + streams:
        transport.abort()


def _hold(*, streamed: bool = True) -> bytes:
    messages = [{"role": "user", "content": "x" * 900}]
    document = {"model": "bench", "stream": streamed, "messages": messages, "bench": "hold"}
    return request(_CHAT, document)


def paced(report: Report, seconds: float) -> None:
    """Token delay with many paced streams, from the engine's write to the client's read."""
    report.section("Paced streams (50 chunks a second each)")
    with synthetic(**_ALL_AT_ONCE) as stage, peers(stage.engine.socket) as others:
        for subject in [stage.engine, stage.relay, *others]:
            for count in (128, 400):
                chunks = int(50 * (seconds + 0.5))
                outcome, cpu = run_loop(
                    subject, stream(chunks, 20), clients=count, seconds=0, stamped=True
                )
                lost = count * (chunks + 2) - outcome.events  # and the counts, and [DONE]
                p50, p99 = (percentile(outcome.delays, share) * 1e3 for share in (0.5, 0.99))
                bar = "p99 < 4 ms" if (subject, count) == (stage.relay, 128) else ""
                report.line(
                    f"{subject.name}: token delay, {count} streams",
                    f"{p50:.2f} / {p99:.2f} ms",
                    bar,
                )
                report.line(
                    f"{subject.name}: chunks lost, broken streams", f"{lost}, {outcome.broken}", "0"
                )
                if subject is not stage.engine:
                    each = cpu / max(1, outcome.events) * 1e6
                    report.line(f"{subject.name}: CPU per paced chunk", f"{each:.1f} us")


def cancelling(report: Report, seconds: float) -> None:
    """From a client's close to the engine seeing it, while other streams run."""
    report.section("Cancelling: a client's close reaches the engine")
    with synthetic(**_ALL_AT_ONCE) as stage:
        for streamed in (True, False):
            delays = uvloop.run(_cancel(stage, max(20, int(50 * seconds)), streamed=streamed))
            p50, p99 = (percentile(delays, share) * 1e3 for share in (0.5, 0.99))
            kind = "streamed" if streamed else "not streamed"
            report.line(f"runnerd: {kind}, p50 / p99", f"{p50:.2f} / {p99:.2f} ms", "p99 <= 20 ms")


async def _cancel(stage: Stage, count: int, *, streamed: bool) -> list[float]:
    others = await hold(stage.relay.socket, stream(10000, 20), 16)
    delays = []
    loop = asyncio.get_running_loop()
    for _ in range(count):
        transport, _ = await loop.create_unix_connection(asyncio.Protocol, str(stage.relay.socket))
        transport.write(_hold(streamed=streamed))
        await _wait_held(stage.engine.socket, lambda state: state["open"] == 1)
        closed = time.monotonic_ns()
        transport.abort()
        state = await _wait_held(stage.engine.socket, lambda state: bool(state["closed"]))
        delays.append((state["closed"][0] - closed) / 1e9)
    for transport in others:
        transport.abort()
    return delays


async def _wait_held(engine: Path | int, done: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    while True:
        state: dict[str, Any] = json.loads(await ask(engine, "/bench/held"))
        if done(state):
            return state
        await asyncio.sleep(0.001)


def overload(report: Report, seconds: float) -> None:
    """Twice the requests that may be at the engine: refusals are quick, the rest is served."""
    report.section("Overload (64 requests may be at the engine; streams of 20 chunks, 5 ms apart)")
    with synthetic(limits__requests_per_runner=64, **_ALL_AT_ONCE) as stage:
        message = stream(20, 5)
        peak, _ = run_loop(stage.relay, message, clients=64, seconds=seconds)
        # A refused client comes back after the time of a response: twice the load all the time.
        over, _ = run_loop(stage.relay, message, clients=128, seconds=seconds, pause=0.1)
        good = over.answers / over.seconds / (peak.answers / peak.seconds)
        p50, p99 = (percentile(over.refused, share) * 1e3 for share in (0.5, 0.99))
        report.line("runnerd: goodput at twice the load, of the peak", f"{good:.0%}", ">= 90 %")
        report.line("runnerd: refused, p50 / p99", f"{p50:.2f} / {p99:.2f} ms", "<= 5 ms")
        report.line("runnerd: answers by status", str(over.statuses))


def bodies(report: Report, seconds: float) -> None:
    """Requests of 200 KB, and the memory that one of 60 MB takes."""
    report.section("Large bodies (1 client; p50 / p99 in ms)")
    message = request(
        "/v1/embeddings", {"model": "bench", "input": "word " * 40_000, "bench": "once"}
    )
    with synthetic() as stage, peers(stage.engine.socket) as others:
        subjects = [stage.engine, stage.relay, *others]
        found = _alternate(subjects, message, 1, seconds)
        _latencies(report, found, 1, "200 KB, engine that reads no JSON", bars=False)
        before = stage.relay.memory()
        outcome, _ = run_loop(stage.relay, _image(60 * 2**20), clients=1, seconds=0)
        _check(outcome, stage.relay)
        grown = (stage.relay.peak() - before) / 2**20
        report.line("runnerd: peak memory for a body of 60 MiB", f"+{grown:.0f} MiB")


def _image(size: int) -> bytes:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * size}}
    messages = [{"role": "user", "content": [picture]}]
    return request(_CHAT, {"model": "bench", "messages": messages, "stream": True})


def _check(outcome: Outcome, subject: Subject) -> None:
    """A figure with failed requests is none; of a peer, only tell how many there were."""
    failed = outcome.broken + sum(outcome.statuses.values()) - outcome.answers
    if failed and not subject.name.startswith("runnerd"):
        print(f"({subject.name}: {failed} of {failed + outcome.answers} requests failed)")
    elif failed:
        raise SystemExit(f"the load failed: {outcome.statuses}, {outcome.broken} broken")
