"""Other people's servers and proxies, where they are on PATH, under the same load as the daemon.

All but Go's proxy and the bare relay speak no Unix sockets, so both sides of them are loopback
ports.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from bench.subjects import DEMO, UPSTREAM, Subject, quietly
from tests.support.ports import reserved_port

_LITELLM = {
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOG": "ERROR",
}
_GO_PROXY = Path(__file__).with_name("goproxy.go")
_BARE_RELAY = Path(__file__).with_name("bare_relay.py")


@contextmanager
def peers(engine: Path | int) -> Iterator[list[Subject]]:
    """Run the proxies that are on PATH before the engine."""
    with go_proxy(engine) as go, llama_swap() as swap, litellm() as lite:
        yield [peer for peer in (go, swap, lite) if peer is not None]


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
        with _relaying("Go ReverseProxy", [str(binary)], socket, engine) as subject:
            yield subject


@contextmanager
def bare_relay(engine: Path | int) -> Iterator[Subject]:
    """Run the least that a relay on uvloop can be before the engine: a floor for the daemon."""
    with tempfile.TemporaryDirectory(prefix="rbb") as folder:
        command = [sys.executable, str(_BARE_RELAY)]
        with _relaying("bare uvloop relay", command, Path(folder) / "b.sock", engine) as subject:
            yield subject


@contextmanager
def _relaying(name: str, command: list[str], socket: Path, engine: Path | int) -> Iterator[Subject]:
    """Run a program that is told where to listen and where the engine does, once it listens."""
    process = subprocess.Popen([*command, str(socket), str(engine)], stderr=subprocess.DEVNULL)
    try:
        while not socket.exists():
            time.sleep(0.01)
        yield Subject(name, socket, psutil.Process(process.pid))
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
            quietly([sys.executable, str(UPSTREAM), "--host", str(upstream)], folder) as own,
            quietly(command, folder, _LITELLM) as process,
        ):
            try:
                _wait_for_port(port, process)
                yield Subject("LiteLLM", port, psutil.Process(process.pid))
            finally:
                process.kill()
                own.kill()


@contextmanager
def engine_router(like: psutil.Process) -> Iterator[Subject | None]:
    """Run llama-server as a router before an engine that it starts itself, with what the running
    one is given; nothing where that one has no router.
    """
    argv = like.cmdline()
    context = int(argv[argv.index("--ctx-size") + 1])
    with tempfile.TemporaryDirectory(prefix="rbr") as folder:
        (Path(folder) / "bench.gguf").symlink_to(argv[argv.index("--model") + 1])
        with running_router(like, Path(folder), context=context) as router:
            if router is not None:
                assert isinstance(router.socket, int)
                _load(router.socket)
            yield router


@contextmanager
def running_router(
    like: psutil.Process, models: Path, *, context: int, most: int = 1
) -> Iterator[Subject | None]:
    """Run llama-server as a router over a folder of models, `most` of them loaded at a time;
    nothing where it has no router.
    """
    server = like.cmdline()[0]
    usage = subprocess.run([server, "--help"], capture_output=True, text=True, check=False)
    if "--models-dir" not in usage.stdout:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="rbr") as folder, reserved_port() as port:
        command = [server, "--host", "127.0.0.1", "--port", str(port), "--models-dir", str(models)]
        command += ["--models-max", str(most), "--no-ui", "--offline", "--threads", "1"]
        with quietly([*command, "--ctx-size", str(context)], folder) as process:
            try:
                _wait_for_port(port, process)
                yield Subject("its router", port, psutil.Process(process.pid))
            finally:
                process.terminate()
                process.wait()


@contextmanager
def running_swap(like: psutil.Process, models: Path) -> Iterator[Subject | None]:
    """Run llama-swap over a folder of models, one of them loaded at a time, where it is on PATH."""
    if shutil.which("llama-swap") is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="rbs") as folder, reserved_port() as port:
        argv = like.cmdline()
        argv[argv.index("--host") + 1] = "127.0.0.1"
        known = {}
        for path in models.glob("*.gguf"):
            argv[argv.index("--model") + 1] = str(path)
            engine = shlex.join(argv) + " --port ${PORT}"
            known[path.stem] = {"cmd": engine, "concurrencyLimit": 100_000}
        config = Path(folder) / "config.yaml"  # JSON is YAML
        config.write_text(json.dumps({"logLevel": "error", "models": known}))
        command = ["llama-swap", "--config", str(config), "--listen", f"127.0.0.1:{port}"]
        with quietly(command, folder) as process:
            try:
                _wait_for_port(port, process)
                yield Subject("llama-swap", port, psutil.Process(process.pid))
            finally:
                process.terminate()
                process.wait()


@contextmanager
def llama_swap(like: psutil.Process | None = None) -> Iterator[Subject | None]:
    """Run llama-swap before an engine that it starts itself, where it is on PATH: a synthetic one,
    or one `like` a running one.

    Its own limit of 10 requests at a time is lifted.
    """
    if shutil.which("llama-swap") is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="rbs") as folder, reserved_port() as port:
        engine = shlex.join([sys.executable, str(UPSTREAM), "--host"]) + " ${PORT}"
        if like is not None:
            argv = like.cmdline()
            argv[argv.index("--host") + 1] = "127.0.0.1"
            engine = shlex.join(argv) + " --port ${PORT}"
        config = Path(folder) / "config.yaml"  # JSON is YAML
        model = {"cmd": engine, "concurrencyLimit": 100_000}
        config.write_text(json.dumps({"logLevel": "error", "models": {"bench": model}}))
        command = ["llama-swap", "--config", str(config), "--listen", f"127.0.0.1:{port}"]
        with quietly(command, folder) as process:
            try:
                _wait_for_port(port, process)
                _load(port)
                yield Subject("llama-swap", port, psutil.Process(process.pid))
            finally:
                process.terminate()


@contextmanager
def ollama() -> Iterator[Subject | None]:
    """Run Ollama with the demo model on an engine of its own, where `ollama` is on PATH.

    The subject is its server, which relays; the engine is a process of its own there as well.
    """
    if shutil.which("ollama") is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="rbo") as folder, reserved_port() as port:
        (Path(folder) / "Modelfile").write_text(f"FROM {DEMO}\n")
        environment = {
            "HOME": folder,
            "OLLAMA_HOST": f"127.0.0.1:{port}",
            "OLLAMA_NUM_PARALLEL": "64",
            "OLLAMA_CONTEXT_LENGTH": "256",
        }
        with quietly(["ollama", "serve"], folder, environment) as process:
            try:
                _wait_for_port(port, process)
                create = ["ollama", "create", "bench", "-f", "Modelfile"]
                with quietly(create, folder, environment) as creating:
                    if creating.wait() != 0:
                        raise RuntimeError("ollama could not create the model")
                yield Subject("Ollama", port, psutil.Process(process.pid))
            finally:
                process.terminate()


def _load(port: int) -> None:
    """Have the model loaded by a first request."""
    chat = {"model": "bench", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]}
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    httpx.post(url, json=chat, timeout=60).raise_for_status()


def _wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until something listens there.  Raises RuntimeError when the process ends first."""
    while process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
