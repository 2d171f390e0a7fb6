"""A real runnerd in a process of its own, on sockets in a test's folder."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.support import preloaded
from tests.support.plain_http import NO_TLS
from tests.support.preloaded import ForkedDaemon
from tests.support.waiting import SECONDS, wait_for

# One thread each: several engines with two threads on two busy cores wait for each other.  And no
# more memory than tiny models need: what other programs leave free must not decide a test.
_MODEST = {
    "RUNNERD_BACKENDS": '{"llama.cpp": {"threads": 1, "memory_reserve": 16}}',
    "RUNNERD_MEMORY_RESERVE": '{"default": 0}',
}
JSON = {"Accept": "application/json"}
"""Headers of who wants errors as objects, on Docker Model Runner's routes as well."""

_WATCHED = "tests.support.nonblocking"
_LISTENING = re.compile(r"listening on (https?://\S+)")


class DaemonProcess:
    """Owns one `runnerd serve`.  Its directories lie in `root`; its port is one that was free."""

    module = _WATCHED
    """What is run: runnerd, watched from inside, which costs each of its system calls something."""

    def __init__(self, root: Path, env: Mapping[str, str | None] | None = None) -> None:
        """`env` is added to ours; None takes a variable out."""
        root.mkdir(exist_ok=True)
        self.root = root
        self.state_dir = root / "state"
        # Short, so that the limit of 107 bytes is not met by accident.
        self.runtime_dir = Path(tempfile.mkdtemp(prefix="rd"))
        self.socket = self.runtime_dir / "runnerd.sock"
        self.output = root / "output.log"
        self.process: subprocess.Popen[bytes] | ForkedDaemon | None = None
        self._env = dict(env or {})
        self.prefix: tuple[str, ...] = ()  # of its command line
        self.own_session = False  # as a service has one
        self._client: httpx.Client | None = None

    def start(self, *flags: str, ready: bool = True) -> DaemonProcess:
        """Start the daemon and, unless told otherwise, wait until its socket answers."""
        arguments = [
            *("--state-dir", str(self.state_dir), "--runtime-dir", str(self.runtime_dir)),
            *("--listen", "127.0.0.1:0", *flags),
        ]
        known = {**os.environ, **_MODEST, **self._env}
        env = {name: value for name, value in known.items() if value is not None}
        plain = self.module == _WATCHED and not self.prefix and not self.own_session
        with open(self.output, "ab") as output:
            if plain and preloaded.fits(env):
                self.process = preloaded.fork(arguments, env, output.fileno())
            else:
                self.process = subprocess.Popen(
                    [*self.prefix, sys.executable, "-m", self.module, "serve", *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=env,
                    start_new_session=self.own_session,
                )
        if ready:
            wait_for(self.answers, "the daemon to answer")
        return self

    def answers(self) -> bool:
        """Return whether the daemon answers on its socket; fail if it has ended instead."""
        assert self.process is not None
        assert self.process.poll() is None, f"the daemon ended: {self.text()}"
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(self.socket)) != 0:
                return False
        return self.http.get("/health").status_code == 200

    @property
    def http(self) -> httpx.Client:
        """A client on the daemon's Unix socket."""
        if self._client is None:
            self._client = self.client()
        return self._client

    def client(self) -> httpx.Client:
        """A fresh client on the daemon's Unix socket; close it."""
        transport = httpx.HTTPTransport(uds=str(self.socket), verify=NO_TLS)
        return httpx.Client(transport=transport, base_url="http://localhost", timeout=60 * SECONDS)

    def stranger(self, name: str = "stranger", **said: Any) -> httpx.Client:
        """A client over TCP that is another user, with a key of its own; close it."""
        response = self.http.post("/runnerd/users", json={"name": name, **said})
        assert response.status_code == 201, response.text
        headers = {"Authorization": f"Bearer {response.json()['key']}"}
        return httpx.Client(
            base_url=self.address, headers=headers, timeout=60 * SECONDS, verify=NO_TLS
        )

    @property
    def address(self) -> str:
        """The daemon's TCP address, as http(s)://127.0.0.1:PORT."""
        found = _LISTENING.findall(self.text())
        assert found, self.text()
        return str(found[-1])

    def reload(self) -> None:
        """Send SIGHUP and wait until the settings were read."""
        assert self.process is not None
        before = self.text().count("SIGHUP: ")
        self.process.send_signal(signal.SIGHUP)
        wait_for(lambda: self.text().count("SIGHUP: ") > before, "the settings to be read")

    def text(self) -> str:
        """Everything that the daemon has printed."""
        return self.output.read_text(errors="replace")

    # models and runners

    def import_model(self, path: Path, tag: str) -> dict[str, Any]:
        """Import a GGUF by path and return its model document."""
        response = self.http.post("/models/import", json={"path": str(path), "tag": tag})
        assert response.status_code == 200, response.text
        last = httpx.Response(200, content=response.text.splitlines()[-1]).json()
        assert last["type"] == "success", response.text
        model = last["model"]
        assert isinstance(model, dict)
        return model

    def ps(self) -> list[dict[str, Any]]:
        """Return the runners."""
        runners = self.http.get("/engines/ps").json()
        assert isinstance(runners, list), runners
        return runners

    def engines(self) -> list[psutil.Process]:
        """Return the engine processes: the daemon's children but for tools that look at a model."""
        assert self.process is not None
        children = _descendants(self.process.pid)
        return [child for child in children if not _is_tool(child)]

    # the end

    def terminate(self) -> int:
        """Send SIGTERM and return the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60 * SECONDS)

    def kill(self) -> None:
        """Send SIGKILL and wait until the daemon is gone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(60 * SECONDS)

    def close(self) -> None:
        """End the daemon however it stands, and remove its runtime directory."""
        if self._client is not None:
            self._client.close()
            self._client = None
        if self.process is not None and self.process.poll() is None:
            try:
                self.terminate()
            except subprocess.TimeoutExpired:
                self.kill()
        for path in sorted(self.runtime_dir.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        self.runtime_dir.rmdir()


def seen_process(pid: int) -> psutil.Process:
    """A process that may be private, as the daemon is; the test is skipped where /proc hides it."""
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        os.kill(pid, 0)  # or it is no more
        pytest.skip("/proc hides private processes here (hidepid)")


def _descendants(pid: int) -> list[psutil.Process]:
    """Whose parent a process is, and theirs; itself it may be hidden (hidepid)."""
    children: dict[int, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess):
            children.setdefault(process.ppid(), []).append(process)
    found = list(children.get(pid, ()))
    for each in found:  # which grows meanwhile
        found += children.get(each.pid, ())
    return found


def _is_tool(process: psutil.Process) -> bool:
    try:
        asks = {"--version", "--help", "--list-devices"} & set(process.cmdline())
        return bool(asks or process.name().startswith("llama-fit"))
    except psutil.NoSuchProcess:
        return True  # it has ended, as an engine does not by itself


@contextmanager
def running(
    root: Path, *flags: str, env: Mapping[str, str | None] | None = None, ready: bool = True
) -> Iterator[DaemonProcess]:
    """Run a daemon for the length of a with block."""
    daemon = DaemonProcess(root, env)
    try:
        yield daemon.start(*flags, ready=ready)
    finally:
        daemon.close()
    assert "Traceback" not in daemon.text(), "the daemon has met what nobody foresaw"
