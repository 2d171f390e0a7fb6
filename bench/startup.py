"""Start-up: exec to first response, idle memory, `runnerd --help`.  Medians of several runs."""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from bench.report import Report

_RUNS = 7


def startup(report: Report, seconds: float) -> None:
    """Print the figures."""
    report.section("Start-up (medians)")
    starts, memory, helps = [], [], []
    for _ in range(_RUNS if seconds > 1 else 1):
        took, rss = _daemon()
        starts.append(took)
        memory.append(rss)
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "runnerd", "--help"], stdout=subprocess.DEVNULL)
        helps.append(time.perf_counter() - began)
    first, idle = statistics.median(starts) * 1e3, statistics.median(memory) / 2**20
    report.line("daemon, exec to first answer on the socket", f"{first:.0f} ms", "well under 1 s")
    report.line("daemon, idle resident memory", f"{idle:.1f} MiB", "80 MB")
    report.line("runnerd --help", f"{statistics.median(helps) * 1e3:.0f} ms", "300 ms")


def _daemon() -> tuple[float, int]:
    """Start a daemon; return the seconds until it answers and its resident bytes."""
    with tempfile.TemporaryDirectory(prefix="rd") as folder:
        path = Path(folder) / "run" / "runnerd.sock"
        environment = {
            **os.environ,
            "RUNNERD_STATE_DIR": f"{folder}/state",
            "RUNNERD_RUNTIME_DIR": f"{folder}/run",
            "RUNNERD_LISTEN": "127.0.0.1:0",
        }
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "runnerd", "serve"], env=environment, stderr=subprocess.DEVNULL
        )
        try:
            while not _responses(path):
                time.sleep(0.002)
            return time.perf_counter() - began, psutil.Process(process.pid).memory_info().rss
        finally:
            process.terminate()
            process.wait(30)


def _responses(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        if client.connect_ex(str(path)) != 0:
            return False
        client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return client.recv(100).startswith(b"HTTP/1.1 200")
