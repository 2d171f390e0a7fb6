"""The real engine: quantising with its own tool, and asking its own server on a Unix socket."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def tool(name: str) -> Path:
    """Return the path of a llama.cpp program; RUNNERD_ENGINE_BIN names another folder for them.

    Raises SystemExit that says how to get them.
    """
    default = Path(sysconfig.get_paths()["purelib"]) / "bin"
    path = Path(os.environ.get("RUNNERD_ENGINE_BIN") or default) / name
    if not path.exists():
        raise SystemExit(
            f"{path} does not exist: set RUNNERD_ENGINE_BIN to the folder with llama.cpp's "
            "programs (after `make serve`: bin/ in the site-packages of runnerd's environment)"
        )
    return path


def quantise(source: Path, target: Path) -> None:
    """Write `source` with Q8_0 weights to `target`."""
    done = subprocess.run(
        [tool("llama-quantize"), source, target, "Q8_0", "1"], capture_output=True, text=True
    )
    if done.returncode != 0:
        raise SystemExit(f"llama-quantize failed on {source}:\n{done.stdout}{done.stderr}")


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=120)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Server:
    """A running llama-server."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def post(self, route: str, body: object) -> dict[str, object]:
        """Return the JSON answer; raises RuntimeError with the engine's words for an error."""
        status, text = self._request("POST", route, json.dumps(body))
        if status != 200:
            raise RuntimeError(f"{route}: {status} {text}")
        answer: dict[str, object] = json.loads(text)
        return answer

    def ready(self) -> bool:
        """Return whether the model is loaded."""
        try:
            return self._request("GET", "/health", None)[0] == 200
        except OSError:
            return False

    def _request(self, method: str, route: str, body: str | None) -> tuple[int, str]:
        connection = _Connection(self._path)
        try:
            connection.request(method, route, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


@contextmanager
def serve(model: Path, *flags: str) -> Iterator[Server]:
    """Run llama-server for `model` and stop it afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        path, log = Path(folder) / "engine.sock", Path(folder) / "log"
        command: list[str | Path] = [
            tool("llama-server"),
            "-m",
            model,
            "--host",
            path,
            "-t",
            "1",
            *flags,
        ]
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            server = Server(path)
            while not server.ready():
                if process.poll() is not None:
                    raise SystemExit(f"llama-server does not load {model}:\n{log.read_text()}")
                time.sleep(0.05)
            yield server
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
