"""Pulls: bytes a second beside `curl` and `sha256sum` on the same file, and memory meanwhile.

The file comes from a small file server in a process of its own, on loopback, so the figure is the
daemon's own cost: a real line is slower than either.  The baseline does one after the other what a
pull does at once: fetch, then hash.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from bench.report import Report
from tests.support.daemon import DaemonProcess, running
from tests.support.ggufs import smallest_model

_MIB = 2**20
_RUNS = 3


def pulling(report: Report, seconds: float) -> None:
    """Print the figures."""
    size = 2048 * _MIB if seconds > 1 else 256 * _MIB
    runs = _RUNS if seconds > 1 else 1
    report.section(f"Pull of {size // _MIB} MiB over loopback (medians of {runs})")
    with tempfile.TemporaryDirectory(prefix="rdpull") as name:
        folder = Path(name)
        file = folder / "model.gguf"
        digest = _write(file, size)
        with _served(folder) as port:
            url = f"http://127.0.0.1:{port}/model.gguf"
            baselines = [_baseline(url, folder / "copy") for _ in range(runs)]
            pulls, growth, peak = _pulls(folder / "daemon", url, digest, runs)
    rates = [
        size / took / _MIB for took in (statistics.median(baselines), statistics.median(pulls))
    ]
    report.line("curl, then sha256sum", f"{rates[0]:.0f} MiB/s")
    report.line("pull", f"{rates[1]:.0f} MiB/s")
    report.line("ratio", f"{rates[1] / rates[0]:.2f}", "at least 0.9")
    report.line("memory while it runs, over idle", f"{growth / _MIB:.1f} MiB", "flat")
    report.line("peak of the daemon's resident memory", f"{peak / _MIB:.1f} MiB")


def _write(path: Path, size: int) -> str:
    """Write a model of `size` bytes that do not compress; return its sha256."""
    hasher, block = hashlib.sha256(), os.urandom(_MIB)
    with open(path, "wb") as file:
        head = smallest_model()
        file.write(head)
        hasher.update(head)
        for left in range(size - len(head), 0, -_MIB):
            hasher.update(block[:left])
            file.write(block[:left])
    return hasher.hexdigest()


def _baseline(url: str, copy: Path) -> float:
    began = time.perf_counter()
    subprocess.run(["curl", "-sSfo", str(copy), url], check=True)
    subprocess.run(["sha256sum", str(copy)], check=True, stdout=subprocess.DEVNULL)
    took = time.perf_counter() - began
    copy.unlink()
    return took


def _pulls(root: Path, url: str, digest: str, runs: int) -> tuple[list[float], int, int]:
    """Return how long each pull took, and how far memory rose above idle, and its peak."""
    took, growth, peak = [], 0, 0
    with running(root, env={"RUNNERD_ALLOWED_SOURCES": '["127.0.0.1"]'}) as daemon:
        assert daemon.process is not None
        process = psutil.Process(daemon.process.pid)
        for _ in range(runs):
            idle = process.memory_info().rss
            with _watched(process) as seen:
                took.append(_pull(daemon, url, digest))
            growth = max(growth, max(seen) - idle)
            peak = max(peak, *seen)
            daemon.http.delete("/models/purge")
    return took, growth, peak


def _pull(daemon: DaemonProcess, url: str, digest: str) -> float:
    began = time.perf_counter()
    response = daemon.http.post("/models/create", json={"from": url, "sha256": digest}, timeout=600)
    took = time.perf_counter() - began
    last = json.loads(response.text.splitlines()[-1])
    assert last["type"] == "success", last
    return took


@contextlib.contextmanager
def _watched(process: psutil.Process) -> Iterator[list[int]]:
    """Note the resident bytes of a process all the while."""
    seen, over = [process.memory_info().rss], threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            seen.append(process.memory_info().rss)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[int]:
    """Serve a folder in a process of its own, with ranges, by sendfile."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    program = (
        "import sys; from aiohttp import web; app = web.Application();"
        "app.router.add_static('/', sys.argv[1]);"
        "web.run_app(app, host='127.0.0.1', port=int(sys.argv[2]), print=None)"
    )
    server = subprocess.Popen([sys.executable, "-c", program, str(folder), str(port)])
    try:
        while not _responses(port):
            time.sleep(0.02)
        yield port
    finally:
        server.terminate()
        server.wait(30)


def _responses(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    try:
        connection.request("HEAD", "/model.gguf")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
