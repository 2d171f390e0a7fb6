"""What scheduling costs: swapping models, the first request, and a lease among many models."""

from __future__ import annotations

import asyncio
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.report import Report
from bench.subjects import by_hand
from runnerd.backends.configuration import BackendMode
from runnerd.config import Settings
from runnerd.configurations import Configurations
from runnerd.models import tiny
from runnerd.scheduler import RunnerKey
from runnerd.sockets.paths import RuntimeDirectory
from runnerd.supervisor import Supervisor
from tests.support.daemon import DaemonProcess, running
from tests.support.listener import Listener

_BODY = {"prompt": "x", "max_tokens": 1}
_MODELS = ("a", "b")


def scheduling(report: Report, seconds: float) -> None:
    """Print what a swap, a first request and a lease cost."""
    report.section("Scheduling")
    rounds = 100 if seconds > 1 else 20
    with tempfile.TemporaryDirectory(prefix="rs") as folder, _two_models(Path(folder)) as daemon:
        _swaps(report, daemon, Path(folder), rounds)
    for count in (1, 10, 100):
        cost = asyncio.run(_lease_cost(count))
        report.line(f"a lease taken and released, {count} models loaded", f"{cost * 1e6:.1f} us")


@contextmanager
def _two_models(folder: Path) -> Iterator[DaemonProcess]:
    """Run a daemon with room for one of two tiny models."""
    with running(folder / "daemon", env={"RUNNERD_MAX_RUNNERS": "1"}) as daemon:
        for number, name in enumerate(_MODELS):
            tiny.write_completion_model(folder / f"{name}.gguf", name=name, seed=number)
            daemon.import_model(folder / f"{name}.gguf", name)
        yield daemon


def _ask(daemon: DaemonProcess, model: str) -> float:
    began = time.perf_counter()
    response = daemon.http.post("/v1/completions", json=_BODY | {"model": model})
    assert response.status_code == 200, response.text
    return time.perf_counter() - began


def _bare_start(daemon: DaemonProcess) -> float:
    """Start the same engine by itself; return the seconds until it says that it is ready."""
    _ask(daemon, "a")
    [engine] = daemon.engines()
    with by_hand(engine) as (_, seconds):
        return seconds


def _swaps(report: Report, daemon: DaemonProcess, folder: Path, rounds: int) -> None:
    """One client asks two models in turns, with room for one.

    In the same rounds the bare engine is started and a loaded model asked, since the load of the
    machine changes from one minute to the next.
    """
    bare, warm, swaps, firsts = [], [], [], []
    for _ in range(rounds):
        _ask(daemon, "b")
        swaps.append(_ask(daemon, "a"))
        warm.append(_ask(daemon, "a"))
        bare.append(_bare_start(daemon))
        daemon.http.post("/engines/unload", json={"all": True})
        firsts.append(_ask(daemon, "a"))
    base = statistics.median(bare) + statistics.median(warm)
    over = sorted(wall - base for wall in swaps)
    p99 = over[min(len(over) - 1, round(len(over) * 0.99))]
    ratio = statistics.median(firsts) / base
    report.line("bare engine, exec to ready, p50", _ms(statistics.median(bare)))
    report.line("answer of a loaded model, p50", _ms(statistics.median(warm)))
    report.line("swap, request to answer, p50", _ms(statistics.median(swaps)))
    report.line("swap beyond engine and answer, p50", _ms(statistics.median(over)), "<= 30 ms")
    report.line("swap beyond engine and answer, p99", _ms(p99), "<= 100 ms")
    report.line("first request over bare start and answer, p50", f"{ratio:.2f}")


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"


async def _lease_cost(count: int) -> float:
    """Return the seconds that a lease costs, taken and given back, among `count` models."""
    root = Path(tempfile.mkdtemp(prefix="rl"))
    directory = RuntimeDirectory(root / "run")
    directory.prepare()
    settings = Settings(max_runners=count, default_backend=Listener.name)
    backend = Listener()
    supervisor = Supervisor(
        settings, {backend.name: backend}, Configurations(root / "configurations.json"), directory
    )
    keys = [
        supervisor.keys.key(backend, f"m{number}", BackendMode.COMPLETION)
        for number in range(count)
    ]
    for key in keys:
        (await supervisor.lease(key, key.model)).release()
    cost = min(_lease_round(supervisor, keys) for _ in range(5))
    await supervisor.close()
    shutil.rmtree(root)
    return cost


def _lease_round(supervisor: Supervisor, keys: list[RunnerKey]) -> float:
    rounds = 20_000
    began = time.perf_counter()
    for number in range(rounds):
        lease = supervisor.lease_at_once(keys[number % len(keys)])
        assert lease is not None
        lease.release()
    return (time.perf_counter() - began) / rounds
