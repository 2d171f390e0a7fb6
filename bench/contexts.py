"""What it costs that each slot has a context of its own, for short requests and beside long ones.

Three engines with one small model each, of the same build: as llama-server starts by itself (four
slots over one context, whose requests may fail each other), as the daemon starts it (four contexts
in one cache, each slot held to its own), and with a cache for each slot.  They take turns;
what is printed is requests for each second of the engine's processor time, against
the first one's in the same round: other programs on the machine count for less in that.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psutil

from bench.load import closed_loop, request
from bench.report import Report
from bench.subjects import quietly
from tests.support.builds import real_server
from tests.support.kinds import KINDS, Size, write_kind

_CONTEXT = 8192
_SIZE = Size(width=256, blocks=4, heads=8, feed_forward=768)
_CLIENTS = (3, 4, 16, 32)
_REQUESTS = 96
_MIXES = (("short", (40,)), ("short beside long", (40, 1500)))  # bytes, and tokens, of prompts
_SHARED, _HELD, _SPLIT = "one context", "a context each, one cache", "a cache each"
_WAYS: Mapping[str, tuple[str, ...]] = {
    _SHARED: ("--ctx-size", str(_CONTEXT)),
    _HELD: (
        "--ctx-size", str(4 * _CONTEXT), "--parallel", "4", "--kv-unified",
        "--kv-unified-per-slot", str(_CONTEXT),
    ),
    _SPLIT: ("--ctx-size", str(4 * _CONTEXT), "--parallel", "4", "--no-kv-unified"),
}  # fmt: skip


def contexts(report: Report, seconds: float) -> None:
    """Print the throughput of each way for each kind of model."""
    report.section("A context for each slot")
    rounds, mixes = (5, 2) if seconds > 1 else (3, 1)
    with tempfile.TemporaryDirectory(prefix="rctx") as name:
        folder = Path(name)
        for kind in KINDS:
            write_kind(folder / "m.gguf", kind, context_length=_CONTEXT, size=_SIZE)
            with ExitStack() as stack:
                engines = {
                    way: stack.enter_context(_engine(folder, flags)) for way, flags in _WAYS.items()
                }
                for label, lengths in _MIXES[:mixes]:
                    for clients in _CLIENTS:
                        _compare(report, f"{kind}, {label}, {clients} clients", engines,
                                 lengths, clients, rounds)  # fmt: skip


def _compare(
    report: Report,
    label: str,
    engines: Mapping[str, tuple[Path, psutil.Process]],
    lengths: tuple[int, ...],
    clients: int,
    rounds: int,
) -> None:
    ratios: dict[str, list[float]] = {way: [] for way in engines}
    for _ in range(rounds):
        rates = {way: _rate(*engine, lengths, clients) for way, engine in engines.items()}
        for way, rate in rates.items():
            ratios[way].append(rate / rates[_SHARED])
    said = ", ".join(f"{way} {statistics.median(ratios[way]):.2f}" for way in ratios)
    report.line(label, said)


def _rate(path: Path, process: psutil.Process, lengths: tuple[int, ...], clients: int) -> float:
    """Return requests per second of the engine's processor time."""
    before, answers = sum(process.cpu_times()[:2]), 0
    while answers < _REQUESTS:  # the kernel counts in hundredths of a second
        answers += asyncio.run(_ask(path, lengths, clients))
    return answers / max(0.01, sum(process.cpu_times()[:2]) - before)


async def _ask(path: Path, lengths: tuple[int, ...], clients: int) -> int:
    texts = [os.urandom(lengths[number % len(lengths)] // 2).hex() for number in range(clients)]
    messages = [
        request("/v1/completions", {"prompt": text, "max_tokens": 32, "ignore_eos": True})
        for text in texts
    ]
    outcomes = await asyncio.gather(
        *(closed_loop(path, message, clients=1, seconds=0) for message in messages)
    )
    assert all(set(outcome.statuses) == {200} for outcome in outcomes), outcomes
    return sum(outcome.answers for outcome in outcomes)


@contextmanager
def _engine(folder: Path, flags: tuple[str, ...]) -> Iterator[tuple[Path, psutil.Process]]:
    path = Path(tempfile.mktemp(suffix=".sock", dir=folder))
    argv = [str(real_server()), "--host", str(path), "--model", str(folder / "m.gguf")]
    process = quietly([*argv, "--threads", "1", "--offline", *flags], str(folder))
    try:
        _wait(path, process)
        yield path, psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait()


def _wait(path: Path, process: subprocess.Popen[bytes]) -> None:
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as http:
        while process.poll() is None:
            try:
                if http.get("http://localhost/health").status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.05)
    raise RuntimeError(f"llama-server ended with status {process.returncode}")
