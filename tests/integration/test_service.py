"""The daemon as a service: sockets from systemd, and what it tells the service manager."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess, running, seen_process
from tests.support.plain_http import NO_TLS
from tests.support.ports import reserved_port
from tests.support.waiting import SECONDS, wait_for

# Becomes a daemon that gets a listener of ours, as systemd does it between fork and exec.
_HAND_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.executable, [sys.executable, "-m", "runnerd", "serve", *sys.argv[2:]])
"""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-socket-activate") is None, reason="needs systemd-socket-activate"
)


class Manager:
    """The service manager's end of NOTIFY_SOCKET; keeps every field that it was sent."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self.fields: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._socket.setblocking(False)

    def told(self, field: str) -> int:
        """Return how often the daemon has said this."""
        with contextlib.suppress(BlockingIOError):
            while message := self._socket.recv(4096):
                self.fields += message.decode().split("\n")
        return self.fields.count(field)

    def close(self) -> None:
        self._socket.close()
        Path(self.address).unlink()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """A manager that listens."""
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose name leaves room for sockets."""
    with tempfile.TemporaryDirectory(prefix="rd") as name:
        yield Path(name)


@contextlib.contextmanager
def activated(folder: Path, state: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path, int]]:
    """Yield the process, the Unix socket and the port of a daemon behind systemd's listeners.

    The daemon takes the place of systemd-socket-activate when the first client comes.
    """
    path, said = folder / "activated.sock", folder / "output"
    with reserved_port() as port, open(said, "wb") as output:
        process = subprocess.Popen(
            [
                *("systemd-socket-activate", "-l", str(path), "-l", f"127.0.0.1:{port}"),
                *(sys.executable, "-m", "runnerd", "serve", "--state-dir", str(state)),
                *("--runtime-dir", str(folder / "run")),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            wait_for(lambda: said.read_text().count("Listening on ") == 2, "the listeners")
            yield process, path, port
        finally:
            process.kill()
            process.wait(60 * SECONDS)


@needs_systemd
def test_sockets_of_systemd(folder: Path, tmp_path: Path) -> None:
    """Both listeners serve, none of our own is opened, and the file outlives the daemon."""
    with activated(folder, tmp_path) as (process, path, port):
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path), verify=NO_TLS)) as client:
            assert client.get("http://localhost/health").status_code == 200
        assert httpx.get(f"http://127.0.0.1:{port}/version", verify=NO_TLS).status_code == 200
        assert not (folder / "run" / "runnerd.sock").exists()
        listening = seen_process(process.pid).net_connections("inet")
        assert {one.laddr.port for one in listening if one.status == psutil.CONN_LISTEN} == {port}
        process.send_signal(signal.SIGTERM)
        assert process.wait(60 * SECONDS) == 0
        assert path.exists()


@needs_systemd
@pytest.mark.engine
def test_engines_inherit_no_listener(folder: Path, tmp_path: Path) -> None:
    """The variables and descriptors that were for the daemon are not for its engines."""
    gguf = tmp_path / "tiny.gguf"
    tiny.write_completion_model(gguf)
    with activated(folder, tmp_path / "state") as (process, path, _):
        transport = httpx.HTTPTransport(uds=str(path), verify=NO_TLS)
        with httpx.Client(transport=transport, timeout=60 * SECONDS) as client:
            document = {"path": str(gguf), "tag": "tiny"}
            client.post("http://localhost/models/import", json=document).raise_for_status()
            question = {"model": "tiny", "prompt": "x", "max_tokens": 1}
            response = client.post("http://localhost/v1/completions", json=question)
            assert response.status_code == 200, response.text
        (engine,) = seen_process(process.pid).children()
        inherited = Path(f"/proc/{engine.pid}/environ").read_bytes()
        assert b"LISTEN_" not in inherited
        assert str(path) not in {str(one.laddr) for one in engine.net_connections("unix")}
        process.send_signal(signal.SIGTERM)
        assert process.wait(60 * SECONDS) == 0
        assert not psutil.pid_exists(engine.pid)


@pytest.mark.engine
def test_a_restart_loses_no_client(folder: Path, tmp_path: Path) -> None:
    """Who comes while the old daemon drains is served by the new one, on the same connection."""
    gguf = tmp_path / "tiny.gguf"
    tiny.write_completion_model(gguf, context_length=8192)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(folder / "held.sock"))
        listener.listen()
        old = stack.enter_context(handed_over(listener, folder, tmp_path / "state"))
        transport = httpx.HTTPTransport(uds=listener.getsockname(), verify=NO_TLS)
        with httpx.Client(transport=transport, timeout=60 * SECONDS) as client:
            document = {"path": str(gguf), "tag": "tiny"}
            client.post("http://localhost/models/import", json=document).raise_for_status()
            question = {"model": "tiny", "prompt": "x", "max_tokens": 7000, "ignore_eos": True}
            url = "http://localhost/v1/completions"
            with client.stream("POST", url, json=question | {"stream": True}) as response:
                next(response.iter_raw())
                old.send_signal(signal.SIGTERM)
                output = folder / "output"
                wait_for(lambda: "new clients wait" in output.read_text(), "the drain")
                late = stack.enter_context(socket.socket(socket.AF_UNIX))
                late.connect(listener.getsockname())
                late.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert old.wait(60 * SECONDS) == 0
        assert Path(listener.getsockname()).is_socket(), "others' sockets are not the daemon's"
        new = stack.enter_context(handed_over(listener, folder, tmp_path / "state"))
        late.settimeout(60 * SECONDS)
        assert late.recv(4096).startswith(b"HTTP/1.1 200 ")
        new.send_signal(signal.SIGTERM)
        assert new.wait(60 * SECONDS) == 0


@contextlib.contextmanager
def handed_over(
    listener: socket.socket, folder: Path, state: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon on a listener that stays open on our side as well."""
    fd = listener.fileno()
    directories = ("--state-dir", str(state), "--runtime-dir", str(folder / "run"))
    with open(folder / "output", "ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", _HAND_OVER, str(fd), *directories],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(fd,),
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(60 * SECONDS)


def test_ready_comes_when_clients_are_served(manager: Manager, tmp_path: Path) -> None:
    """READY=1 once and only with open listeners, then STOPPING=1 with more time to stop."""
    with running(tmp_path / "d", env={"NOTIFY_SOCKET": manager.address}, ready=False) as daemon:
        wait_for(lambda: manager.told("READY=1"), "READY=1")
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(daemon.socket))  # at once: nothing is waited for after READY
        assert daemon.answers()
        assert manager.told("STOPPING=1") == 0
        assert daemon.terminate() == 0
    assert manager.told("READY=1") == manager.told("STOPPING=1") == 1
    assert any(field.startswith("EXTEND_TIMEOUT_USEC=") for field in manager.fields)


def test_a_daemon_that_cannot_start_is_never_ready(manager: Manager, tmp_path: Path) -> None:
    """A taken port ends the start with a reason, without READY=1."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        daemon = DaemonProcess(tmp_path / "d", env={"NOTIFY_SOCKET": manager.address})
        daemon.start("--listen", f"127.0.0.1:{port}", ready=False)
        assert daemon.process is not None
        assert daemon.process.wait(60 * SECONDS) == 1
        daemon.close()
    assert f"cannot listen on 127.0.0.1, port {port}" in daemon.text()
    assert manager.told("READY=1") == 0


def test_the_watchdog_follows_the_event_loop(manager: Manager, tmp_path: Path) -> None:
    """WATCHDOG=1 comes again and again, and not from a daemon that does not run."""
    env = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "40000"}
    with running(tmp_path / "d", env=env) as daemon:
        wait_for(lambda: manager.told("WATCHDOG=1") > 3, "several beats")
        assert daemon.process is not None
        process = seen_process(daemon.process.pid)
        process.suspend()
        wait_for(lambda: process.status() == psutil.STATUS_STOPPED, "the daemon to stand still")
        beats = manager.told("WATCHDOG=1")
        for _ in range(100):
            assert manager.told("WATCHDOG=1") == beats
        process.resume()
        wait_for(lambda: manager.told("WATCHDOG=1") > beats, "the next beat")


def test_the_journal_gets_levels_and_no_times(tmp_path: Path) -> None:
    """Connected to the journal, each line starts with its priority; the journal has the time."""
    journal, ours = socket.socketpair()
    daemon = DaemonProcess(tmp_path / "d")
    status = os.fstat(ours.fileno())
    env = {**os.environ, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
    directories = ("--state-dir", str(daemon.state_dir), "--runtime-dir", str(daemon.runtime_dir))
    with subprocess.Popen(
        [sys.executable, "-m", "runnerd", "serve", "--listen", "", *directories],
        stderr=ours.fileno(),
        env=env,
    ) as process:
        ours.close()
        wait_for(daemon.socket.exists, "the daemon")
        process.terminate()
        lines = journal.makefile().read().splitlines()
    journal.close()
    daemon.close()
    assert lines[0].startswith("<6>runnerd.daemon: runnerd ")
    assert all(line.startswith("<6>runnerd.") for line in lines)


def test_sighup_brings_settings_into_force(tmp_path: Path) -> None:
    """On open connections too; wrong ones change nothing; some are said to need a restart."""
    file = tmp_path / "runnerd.toml"
    file.write_text("")
    with running(tmp_path / "d", "--config", str(file)) as daemon:
        reloads = 0

        def reload(text: str) -> None:
            nonlocal reloads
            reloads += 1
            file.write_text(text)
            assert daemon.process is not None
            daemon.process.send_signal(signal.SIGHUP)
            wait_for(lambda: daemon.text().count("SIGHUP: ") >= reloads, "the reload")

        with httpx.Client(
            base_url=daemon.address, headers={"Host": "models.example"}, verify=NO_TLS
        ) as client:
            assert client.get("/health").status_code == 403
            reload('allowed_hosts = ["models.example"]\nidle_timeout = 5\n')
            assert "SIGHUP: changed settings: allowed_hosts, idle_timeout" in daemon.text()
            assert client.get("/health").status_code == 200
            reload("idle_timeout = -1\n")
            assert "the settings stay as they were: wrong settings:" in daemon.text()
            assert client.get("/health").status_code == 200
            reload("allowed_hosts = []\nsocket_mode = 0o600\n")
            assert "SIGHUP: a restart is needed for socket_mode" in daemon.text()
            wait_for(lambda: client.get("/health").status_code == 403, "the old rules")
