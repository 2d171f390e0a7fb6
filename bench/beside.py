"""A person beside a client that wants everything: how long the first token takes.

One user keeps sixteen long requests at one model; another one asks something short every second.
Both have keys.  What the person waits, and what the other loses by it, says whether the places of
an engine are shared well.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from pathlib import Path

import httpx

from bench.models import Shape, write_f16
from bench.report import Report
from tests.support.daemon import DaemonProcess, running

_GREEDY = 16  # long requests at a time
_LONG, _SHORT = 300, 8  # tokens
_PAUSE = 1.0  # seconds between two questions of the person
_SHAPE = Shape("20M", "llama", 384, 6, 6, 2, 64, 1024, 4096)


def beside(report: Report, seconds: float) -> None:
    """Print what a person waits, alone and beside the other one."""
    report.section(f"a short stream beside {_GREEDY} long ones of another user")
    questions = 10 if seconds > 1 else 5
    with tempfile.TemporaryDirectory(prefix="rs") as name:
        folder = Path(name)
        model = folder / "m.gguf"
        write_f16(model, _SHAPE)
        with running(folder / "daemon") as daemon:
            daemon.import_model(model, "m")
            person, greedy = _user(daemon, "person"), _user(daemon, "greedy")
            with _client(daemon, person) as client:
                _first_token(client)
                report.line(
                    "alone, median", _milliseconds([_first_token(client) for _ in range(5)])
                )
            load = _Load(daemon, greedy)
            with _client(daemon, person) as client:
                first = _first_token(client)
                report.line("the first question beside them", f"{first * 1000:.0f} ms")
                waits = []
                for _ in range(questions):
                    time.sleep(_PAUSE)
                    waits.append(_first_token(client))
                report.line("the next ones, median", _milliseconds(waits))
                report.line("the next ones, most", f"{max(waits) * 1000:.0f} ms")
            load.end()
            report.line("a long one took, median", f"{statistics.median(load.took):.2f} s")
            report.line("long ones per second", f"{load.rate:.2f}")


def _user(daemon: DaemonProcess, name: str) -> str:
    made = daemon.http.post("/runnerd/users", json={"name": name}).raise_for_status()
    return str(made.json()["key"])


def _client(daemon: DaemonProcess, key: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.Client(base_url=daemon.address, headers=headers, timeout=300)


def _first_token(client: httpx.Client) -> float:
    """The seconds until the first token of a short stream, which is read to its end."""
    body = {"model": "m", "prompt": "x y z", "max_tokens": _SHORT, "stream": True}
    began, first = time.monotonic(), 0.0
    with client.stream("POST", "/v1/completions", json=body) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            if line.startswith("data: ") and not first:
                first = time.monotonic() - began
    return first


class _Load:
    """Asks for long responses, so many at a time, until its end."""

    def __init__(self, daemon: DaemonProcess, key: str) -> None:
        self.took: list[float] = []
        self._ended = threading.Event()
        self._began = time.monotonic()
        self._threads = [
            threading.Thread(target=self._ask, args=(daemon, key)) for _ in range(_GREEDY)
        ]
        for thread in self._threads:
            thread.start()
        time.sleep(_PAUSE)

    def _ask(self, daemon: DaemonProcess, key: str) -> None:
        body = {"model": "m", "prompt": "x", "max_tokens": _LONG, "ignore_eos": True}
        with _client(daemon, key) as client:
            while not self._ended.is_set():
                began = time.monotonic()
                client.post("/v1/completions", json=body).raise_for_status()
                self.took.append(time.monotonic() - began)

    def end(self) -> None:
        """No more are asked; those under way are waited for."""
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self.rate = len(self.took) / (time.monotonic() - self._began)


def _milliseconds(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1000:.0f} ms"
