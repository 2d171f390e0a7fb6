"""What is measured: the daemon with a synthetic engine, the bare engine, and peers on PATH.

A subject is a socket that answers OpenAI requests and the process whose CPU time counts.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
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
from tests.support.ports import reserved_port

_UPSTREAM = Path(__file__).with_name("upstream.py")
_DEMO = Path(__file__).parents[1] / "demo" / "demo-a.gguf"
_LITELLM = {
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOG": "ERROR",
}
_GO_PROXY = Path(__file__).with_name("goproxy.go")


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
def by_hand(engine: psutil.Process) -> Iterator[tuple[Subject, float]]:
    """Start the same engine by itself, as a user would; yield it and its seconds until ready."""
    with tempfile.TemporaryDirectory(prefix="rbh") as folder:
        path = Path(folder) / "bare.sock"
        argv = engine.cmdline()
        argv[argv.index("--host") + 1] = str(path)
        began = time.perf_counter()
        with _quietly(argv, folder) as process:
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
        script = Path(folder) / "llama-server"
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {_UPSTREAM} "$@"\n')
        script.chmod(0o755)
        with stage(engine=script, settings=settings) as running:
            yield running


@contextmanager
def peers(engine: Path | int) -> Iterator[list[Subject]]:
    """Run the proxies that are on PATH before the engine."""
    with go_proxy(engine) as go, litellm() as lite:
        yield [peer for peer in (go, lite) if peer is not None]


@contextmanager
def go_proxy(engine: Path | int) -> Iterator[Subject | None]:
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


@contextmanager
def litellm() -> Iterator[Subject | None]:
    """Run LiteLLM's proxy, one worker, before a synthetic engine of its own, where it is on PATH.

    It speaks to no Unix sockets, so both sides of it are loopback ports.
    """
    if shutil.which("litellm") is None:
        yield None
        return
    with (
        tempfile.TemporaryDirectory(prefix="rbl") as folder,
        reserved_port() as upstream,
        reserved_port() as port,
    ):
        target = {"model": "openai/bench", "api_base": f"http://127.0.0.1:{upstream}/v1"}
        models = [{"model_name": "bench", "litellm_params": {**target, "api_key": "none"}}]
        config = Path(folder) / "config.yaml"  # JSON is YAML
        config.write_text(json.dumps({"model_list": models}))
        command = ["litellm", "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
        with (
            _quietly([sys.executable, str(_UPSTREAM), "--host", str(upstream)], folder) as own,
            _quietly(command, folder, _LITELLM) as process,
        ):
            try:
                _wait_for_port(port, process)
                yield Subject("LiteLLM", port, psutil.Process(process.pid))
            finally:
                process.kill()
                own.kill()


@contextmanager
def ollama() -> Iterator[Subject | None]:
    """Run Ollama with the demo model on an engine of its own, where `ollama` is on PATH.

    The subject is its server, which relays; the engine is a process of its own there as well.
    """
    if shutil.which("ollama") is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="rbo") as folder, reserved_port() as port:
        (Path(folder) / "Modelfile").write_text(f"FROM {_DEMO}\n")
        environment = {
            "HOME": folder,
            "OLLAMA_HOST": f"127.0.0.1:{port}",
            "OLLAMA_NUM_PARALLEL": "64",
            "OLLAMA_CONTEXT_LENGTH": "256",
        }
        with _quietly(["ollama", "serve"], folder, environment) as process:
            try:
                _wait_for_port(port, process)
                create = ["ollama", "create", "bench", "-f", "Modelfile"]
                with _quietly(create, folder, environment) as creating:
                    if creating.wait() != 0:
                        raise RuntimeError("ollama could not create the model")
                yield Subject("Ollama", port, psutil.Process(process.pid))
            finally:
                process.terminate()


def _quietly(
    command: list[str], folder: str, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a program in a folder, its output unread, with additions to the environment."""
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until something listens there.  Raises RuntimeError when the process ends first."""
    while process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
