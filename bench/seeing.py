"""What it costs to be seen: a scrape of /metrics, somebody who watches, each request's part."""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from bench.report import Report
from runnerd.access import PrincipalKind
from runnerd.models import tiny
from runnerd.observability.event_bus import EventBus, EventKind
from runnerd.observability.request_figures import RequestFigures
from runnerd.relay.records import RequestRecord
from tests.support.daemon import DaemonProcess

_MODELS = 12
_CHAT = {"messages": [{"role": "user", "content": "a"}], "max_tokens": 2}


def seeing(report: Report, seconds: float) -> None:
    """CPU of the daemon, with twelve models loaded."""
    report.section("being seen, with 12 models loaded")
    report.line("a request's part", f"{_request_us():.1f} us")
    with tempfile.TemporaryDirectory() as folder, _loaded(Path(folder)) as daemon:
        for title, path, before in (
            ("a scrape", "/metrics", lambda _: None),
            ("a scrape, all were in use", "/metrics", _use),
            ("an overview", "/runnerd/overview", lambda _: None),
        ):
            least, median, lines = _each(daemon, path, before)
            bar = "20 ms" if lines > 1 else ""
            report.line(title, f"{median:.2f} ms CPU, {least:.2f} at least, {lines} lines", bar)
        began = _cpu(daemon)
        time.sleep(5.0)
        idle = (_cpu(daemon) - began) / 5.0
        watched = _watched(daemon, 4 * seconds)
        report.line("idle", f"{100 * idle:.2f} % of a core")
        report.line("a page that watches", f"{100 * (watched - idle):.2f} % more", "1 %")


def _each(
    daemon: DaemonProcess, path: str, before: Callable[[DaemonProcess], None]
) -> tuple[float, float, int]:
    """Milliseconds of CPU, the least and the median, and the lines of a response."""
    used, lines = [], 0
    for _ in range(20):
        before(daemon)
        time.sleep(0.55)  # who scrapes sooner gets the same again
        began = _cpu(daemon)
        text = daemon.http.get(path).raise_for_status().text
        used.append(1000 * (_cpu(daemon) - began))
        lines = text.count("\n") + 1
    return min(used), statistics.median(used), lines


def _use(daemon: DaemonProcess) -> None:
    """Have each engine, and the figures of each model, say something else."""
    for number in range(_MODELS):
        _chat(daemon, number, stream=True)


def _chat(daemon: DaemonProcess, number: int, *, stream: bool) -> None:
    document = {**_CHAT, "model": f"m{number}", "stream": stream}
    daemon.http.post("/v1/chat/completions", json=document).raise_for_status()


@contextmanager
def _loaded(folder: Path) -> Iterator[DaemonProcess]:
    """A daemon with all of them loaded and asked.  Without the tests' watch, which costs, too."""
    daemon = DaemonProcess(folder / "d", {"RUNNERD_IDLE_TIMEOUT": "3600"})
    try:
        daemon.start()
        for number in range(_MODELS):
            path = folder / f"m{number}.gguf"
            tiny.write_completion_model(path, name=f"m{number}", seed=number)
            daemon.import_model(path, f"m{number}")
            for stream in (False, True):
                _chat(daemon, number, stream=stream)
        yield daemon
    finally:
        daemon.close()


def _cpu(daemon: DaemonProcess) -> float:
    """Seconds of all threads, as the kernel's scheduler counts them: ticks are too coarse."""
    assert daemon.process is not None
    threads = Path(f"/proc/{daemon.process.pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def _watched(daemon: DaemonProcess, seconds: float) -> float:
    """The share of a core with a stream of events and an overview each second."""
    stop = threading.Event()

    def follow() -> None:
        with daemon.client() as http, http.stream("GET", "/runnerd/events") as response:
            for _ in response.iter_raw():
                if stop.is_set():
                    return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    before, began = _cpu(daemon), time.monotonic()
    with daemon.client() as http:
        while time.monotonic() < began + seconds:
            _look(http)
            time.sleep(1.0)
    used = (_cpu(daemon) - before) / (time.monotonic() - began)  # the last second may be over it
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
