"""What it costs to be seen: a scrape of /metrics, somebody who watches, each request's part."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from bench.report import Report
from runnerd.access import PrincipalKind
from runnerd.models import tiny
from runnerd.observability.event_bus import EventBus, EventKind
from runnerd.observability.request_figures import RequestFigures
from runnerd.relay.records import RequestRecord
from tests.support.daemon import DaemonProcess, running

_MODELS = 12
_CHAT = {"messages": [{"role": "user", "content": "a"}], "max_tokens": 2}


def seeing(report: Report, seconds: float) -> None:
    """CPU of the daemon, with twelve models loaded."""
    report.section("being seen, with 12 models loaded")
    report.line("a request's part", f"{_request_us():.1f} us")
    with tempfile.TemporaryDirectory() as folder, _loaded(Path(folder)) as daemon:
        assert daemon.process is not None
        process = psutil.Process(daemon.process.pid)
        scrapes, before = 20, _cpu(process)
        series = 0
        for _ in range(scrapes):
            time.sleep(0.55)  # who asks sooner gets the same again
            series = daemon.http.get("/metrics").text.count("\n")
        idle = _idle(process, 5.0)
        each = (_cpu(process) - before - idle * (scrapes * 0.55 + 5.0)) / scrapes
        report.line("a scrape", f"{1000 * each:.1f} ms CPU, {series} lines", "20 ms")
        watched = _watched(daemon, process, 4 * seconds)
        report.line("idle", f"{100 * idle:.2f} % of a core")
        report.line("a page that watches", f"{100 * (watched - idle):.2f} % more", "1 %")


@contextmanager
def _loaded(folder: Path) -> Iterator[DaemonProcess]:
    """A daemon with all of them loaded and asked."""
    with running(folder / "d", env={"RUNNERD_IDLE_TIMEOUT": "3600"}) as daemon:
        for number in range(_MODELS):
            path = folder / f"m{number}.gguf"
            tiny.write_completion_model(path, name=f"m{number}", seed=number)
            daemon.import_model(path, f"m{number}")
            for streams in (False, True):
                document = {**_CHAT, "model": f"m{number}", "stream": streams}
                daemon.http.post("/v1/chat/completions", json=document).raise_for_status()
        yield daemon


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _idle(process: psutil.Process, seconds: float) -> float:
    before = _cpu(process)
    time.sleep(seconds)
    return (_cpu(process) - before) / seconds


def _watched(daemon: DaemonProcess, process: psutil.Process, seconds: float) -> float:
    """The share of a core with a stream of events and an overview each second."""
    stop = threading.Event()

    def follow() -> None:
        with daemon.client() as http, http.stream("GET", "/runnerd/events") as response:
            for _ in response.iter_raw():
                if stop.is_set():
                    return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    before, until = _cpu(process), time.monotonic() + seconds
    with daemon.client() as http:
        while time.monotonic() < until:
            _look(http)
            time.sleep(1.0)
    used = (_cpu(process) - before) / seconds
    stop.set()
    daemon.http.post("/models/m0/tag", params={"repo": "end", "tag": "v1"})
    thread.join(10)
    return used


def _look(http: httpx.Client) -> None:
    http.get("/runnerd/overview").raise_for_status()


def _request_us() -> float:
    """Microseconds for what each request that has ended costs: figures and event."""
    bus, figures, count = EventBus(), RequestFigures(), 20_000
    records = [
        RequestRecord(
            id=str(number), model="m", operation="chat/completions", origin=None, user_agent=None,
            streamed=True, bytes_in=1, status=200, waited=0.0, first_byte=0.01, duration=0.1,
        )
        for number in range(count)
    ]  # fmt: skip
    began = time.process_time()
    for record in records:
        figures.ended(PrincipalKind.OWNER, record)
        bus.publish(EventKind.REQUEST, record)
    figures.add_up()
    return (time.process_time() - began) / count * 1e6
