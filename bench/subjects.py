"""What is measured: the daemon with a synthetic engine, and the bare engine; `peers` has others.

A subject is a socket that answers OpenAI requests and the process whose CPU time counts.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from tests.support.daemon import DaemonProcess

UPSTREAM = Path(__file__).with_name("upstream.py")
DEMO = Path(__file__).parents[1] / "demo" / "demo-a.gguf"


@dataclass(frozen=True)
class Subject:
    """One thing under load, on a Unix socket or (a peer that knows none) a loopback port.

    `process` is None when its CPU time is not of interest.
    """

    name: str
    socket: Path | int
    process: psutil.Process | None = None

    def cpu(self) -> float:
        """Return the CPU seconds that the process has used."""
        if self.process is None:
            return 0.0
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def memory(self) -> int:
        """Return the resident bytes of the process."""
        return 0 if self.process is None else int(self.process.memory_info().rss)

    def peak(self) -> int:
        """Return the most resident bytes that the process ever had."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024


@dataclass(frozen=True)
class Stage:
    """A running daemon and the socket of its engine."""

    relay: Subject
    engine: Subject
    daemon: DaemonProcess


@contextmanager
def stage(
    *,
    engine: Path | None = None,
    parallel: int | None = 64,
    settings: dict[str, object] | None = None,
) -> Iterator[Stage]:
    """Run the daemon with one loaded model on `engine`; None is the installed llama-server, with
    `parallel` slots (None: as many as it has by default).

    Its settings are the defaults but for what is given.
    """
    with tempfile.TemporaryDirectory(prefix="rb") as folder:
        root = Path(folder)
        backend: dict[str, object] = {"threads": 1}
        if parallel is not None:
            backend["parallel"] = parallel
        if engine is not None:
            backend = {"path": str(engine)}
        environment = {"RUNNERD_BACKENDS": json.dumps({"llama.cpp": backend})}
        environment |= {f"RUNNERD_{k.upper()}": str(v) for k, v in (settings or {}).items()}
        daemon = DaemonProcess(root, environment)
        daemon.own_session = True
        try:
            daemon.start()
            daemon.import_model(DEMO, "bench")
            body = {"model": "bench", "messages": [{"role": "user", "content": "hi"}]}
            response = daemon.http.post("/v1/chat/completions", json=body | {"max_tokens": 2})
            assert response.status_code == 200, response.text
            assert daemon.process is not None
            own = Path(daemon.ps()[0]["socket"].replace(".sock", "/e.sock"))
            yield Stage(
                Subject("runnerd", daemon.socket, psutil.Process(daemon.process.pid)),
                Subject("bare engine", own, daemon.engines()[0]),
                daemon,
            )
        finally:
            daemon.close()


@contextmanager
def by_hand(engine: psutil.Process) -> Iterator[tuple[Subject, float]]:
    """Start the same engine by itself, as a user would; yield it and its seconds until ready."""
    with tempfile.TemporaryDirectory(prefix="rbh") as folder:
        path = Path(folder) / "bare.sock"
        argv = engine.cmdline()
        argv[argv.index("--host") + 1] = str(path)
        began = time.perf_counter()
        with quietly(argv, folder) as process:
            try:
                with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as http:
                    while not _ready(path, http):
                        time.sleep(0.001)
                seconds = time.perf_counter() - began
                yield Subject("bare engine", path, psutil.Process(process.pid)), seconds
            finally:
                process.kill()


def _ready(path: Path, http: httpx.Client) -> bool:
    try:
        return path.exists() and http.get("http://localhost/health").status_code == 200
    except httpx.HTTPError:
        return False


@contextmanager
def synthetic(**settings: object) -> Iterator[Stage]:
    """Run the daemon on the synthetic engine."""
    with tempfile.TemporaryDirectory(prefix="rbu") as folder:
        # Beside the script: an engine may read what lies where it is installed, and little else.
        upstream = shutil.copy(UPSTREAM, folder)
        script = Path(folder) / "llama-server"
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {upstream} "$@"\n')
        script.chmod(0o755)
        with stage(engine=script, settings=settings) as running:
            yield running


def quietly(
    command: list[str], folder: str, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a program in a folder and in a session of its own, as the daemon starts its engines;
    its output is unread, its environment has additions.
    """
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
