"""What is measured: the daemon with a synthetic engine, the bare engine, and peers on PATH.

A subject is a Unix socket that answers OpenAI requests and the process whose CPU time counts.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support.daemon import DaemonProcess

_UPSTREAM = Path(__file__).with_name("upstream.py")
_DEMO = Path(__file__).parents[1] / "demo" / "demo-a.gguf"
_GO_PROXY = Path(__file__).with_name("goproxy.go")


@dataclass(frozen=True)
class Subject:
    """One thing under load.  `process` is None when its CPU time is not of interest."""

    name: str
    socket: Path
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
    *, engine: Path | None = None, settings: dict[str, object] | None = None
) -> Iterator[Stage]:
    """Run the daemon with one loaded model on `engine`; None is the installed llama-server."""
    with tempfile.TemporaryDirectory(prefix="rb") as folder:
        root = Path(folder)
        backend: dict[str, object] = {"threads": 1, "parallel": 64}
        if engine is not None:
            backend = {"path": str(engine)}
        # Every request goes to the engine: what is measured is the relay, not the queue.
        environment = {"RUNNERD_OVERCOMMIT": "0"}
        environment["RUNNERD_BACKENDS"] = json.dumps({"llama.cpp": backend})
        environment |= {f"RUNNERD_{k.upper()}": str(v) for k, v in (settings or {}).items()}
        daemon = DaemonProcess(root, environment)
        try:
            daemon.start()
            daemon.import_model(_DEMO, "bench")
            body = {"model": "bench", "messages": [{"role": "user", "content": "hi"}]}
            answer = daemon.http.post("/v1/chat/completions", json=body | {"max_tokens": 2})
            assert answer.status_code == 200, answer.text
            assert daemon.process is not None
            own = Path(daemon.ps()[0]["socket"].replace(".sock", ".e.sock"))
            yield Stage(
                Subject("runnerd", daemon.socket, psutil.Process(daemon.process.pid)),
                Subject("bare engine", own, daemon.engines()[0]),
                daemon,
            )
        finally:
            daemon.close()


@contextmanager
def synthetic(**settings: object) -> Iterator[Stage]:
    """Run the daemon on the synthetic engine."""
    with tempfile.TemporaryDirectory(prefix="rbu") as folder:
        script = Path(folder) / "llama-server"
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {_UPSTREAM} "$@"\n')
        script.chmod(0o755)
        with stage(engine=script, settings=settings) as running:
            yield running


@contextmanager
def go_proxy(engine: Path) -> Iterator[Subject | None]:
    """Run Go's standard ReverseProxy before the engine, where `go` is on PATH.

    It is what llama-swap relays with, without llama-swap's own work: a floor for it.
    """
    if shutil.which("go") is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="rbg") as folder:
        binary, socket = Path(folder) / "goproxy", Path(folder) / "p.sock"
        build = ["go", "build", "-o", str(binary), str(_GO_PROXY)]
        subprocess.run(build, check=True, env={**os.environ, "GO111MODULE": "off"})
        process = subprocess.Popen(
            [str(binary), str(socket), str(engine)], stderr=subprocess.DEVNULL
        )
        try:
            while not socket.exists():
                time.sleep(0.01)
            yield Subject("Go ReverseProxy", socket, psutil.Process(process.pid))
        finally:
            process.kill()
            process.wait()
