"""Start-up: exec to first answer, idle memory, `runnerd --help`.  Medians of several runs."""

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

_RUNS = 7


def main() -> None:
    """Print the figures."""
    starts, memory, helps = [], [], []
    for _ in range(_RUNS):
        seconds, rss = _daemon()
        starts.append(seconds)
        memory.append(rss)
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "runnerd", "--help"], stdout=subprocess.DEVNULL)
        helps.append(time.perf_counter() - began)
    print(f"daemon, exec to first answer on the socket: {statistics.median(starts) * 1e3:.0f} ms")
    print(f"daemon, idle resident memory: {statistics.median(memory) / 2**20:.1f} MiB")
    print(f"runnerd --help: {statistics.median(helps) * 1e3:.0f} ms")


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
            while not _answers(path):
                time.sleep(0.002)
            return time.perf_counter() - began, psutil.Process(process.pid).memory_info().rss
        finally:
            process.terminate()
            process.wait(30)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        if client.connect_ex(str(path)) != 0:
            return False
        client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return client.recv(100).startswith(b"HTTP/1.1 200")


if __name__ == "__main__":
    main()
