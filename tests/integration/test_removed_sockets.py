"""Sockets and directories that vanish under a running daemon, as cleaners of /tmp let them."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.daemon import DaemonProcess, running
from tests.support.waiting import LIMIT, wait_for

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "x"}], "max_tokens": 4}

pytestmark = pytest.mark.engine


@pytest.fixture
def daemon(tmp_path: Path, gguf: Path) -> Iterator[DaemonProcess]:
    """A daemon with one loaded model."""
    with running(tmp_path) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        assert chat(daemon.http) == 200
        yield daemon


def chat(http: httpx.Client) -> int:
    return http.post("/v1/chat/completions", json=CHAT).status_code


def sockets(daemon: DaemonProcess, whose: str = "*") -> list[Path]:
    """The sockets of runners: the engines' own, the guards', or all of them."""
    found = (daemon.runtime_dir / "m").glob(
        {"engine's": "*/e.sock", "guard's": "*.sock"}.get(whose, "**/*sock")
    )
    return [path for path in found if path.is_socket()]


def states(daemon: DaemonProcess) -> list[str]:
    return [runner["state"] for runner in daemon.ps()]


def engine(daemon: DaemonProcess) -> psutil.Process:
    (process,) = daemon.engines()
    return process


def test_the_request_that_finds_out_is_served(daemon: DaemonProcess) -> None:
    """An engine whose socket was removed is replaced, and nobody gets an error."""
    before = engine(daemon)
    (socket,) = sockets(daemon, "engine's")
    socket.unlink()
    with ThreadPoolExecutor() as pool:
        clients = [daemon.client() for _ in range(4)]
        assert list(pool.map(chat, clients)) == [200] * 4
        for client in clients:
            client.close()
    assert not before.is_running()
    assert states(daemon) == ["ready"]


def test_a_load_looks(daemon: DaemonProcess) -> None:
    """`load` says done only of an engine that can be reached."""
    (socket,) = sockets(daemon, "engine's")
    socket.unlink()
    response = daemon.http.post(
        "/v1/chat/completions", json=CHAT, headers={"X-Preload-Only": "true"}
    )
    assert response.status_code == 200
    assert len(sockets(daemon, "engine's")) == 1
    assert states(daemon) == ["ready"]


@pytest.mark.parametrize("whose", ["engine's", "guard's"])
def test_nobody_has_to_ask(daemon: DaemonProcess, whose: str) -> None:
    """A runner that nobody can reach is not called ready, and its engine ends."""
    before = engine(daemon)
    (socket,) = sockets(daemon, whose)
    socket.unlink()
    wait_for(lambda: not before.is_running(), "the unreachable engine to end")
    wait_for(lambda: states(daemon) == ["failed"], "the runner to be called failed")
    assert "could not be reached" in str(daemon.ps()[0]["failure"])
    assert chat(daemon.http) == 200


def test_requests_in_flight_are_answered(daemon: DaemonProcess) -> None:
    """A stream goes on to its end although nobody else could connect any more."""
    process = engine(daemon)
    request = CHAT | {"stream": True, "max_tokens": 64}
    with daemon.client() as other, ThreadPoolExecutor() as pool:
        with daemon.http.stream("POST", "/v1/chat/completions", json=request) as response:
            pieces = response.iter_text()
            first = next(pieces)
            process.suspend()
            try:
                for socket in sockets(daemon):
                    socket.unlink()
                waiting = pool.submit(chat, other)
                wait_for(lambda: states(daemon) == ["stopping"], "the runner to take nobody more")
            finally:
                process.resume()
            assert "[DONE]" in first + "".join(pieces)
        assert waiting.result(LIMIT) == 200
    assert not process.is_running()


def test_the_runtime_directory_comes_back(daemon: DaemonProcess, tmp_path: Path) -> None:
    """Control socket, lock and engines are there again, and a second daemon is still refused."""
    before = engine(daemon)
    daemon.http.close()
    daemon._client = None
    shutil.rmtree(daemon.runtime_dir)
    wait_for(lambda: daemon.socket.exists() and daemon.answers(), "the control socket")
    assert daemon.runtime_dir.stat().st_mode & 0o777 == 0o755
    assert (daemon.runtime_dir / "m").stat().st_mode & 0o777 == 0o700
    assert daemon.socket.stat().st_mode & 0o777 == 0o660
    assert chat(daemon.http) == 200
    assert not before.is_running()
    second = DaemonProcess(tmp_path / "second")
    own, second.runtime_dir = second.runtime_dir, daemon.runtime_dir
    try:
        assert second.start(ready=False).process is not None
        assert second.process is not None
        assert second.process.wait(LIMIT) == 1
    finally:
        second.runtime_dir = own
        second.close()
    assert "already running" in second.text()


@pytest.mark.parametrize("what", ["socket", "lock"])
def test_a_single_file_comes_back(daemon: DaemonProcess, what: str) -> None:
    """The control socket or the lock alone is made again, and the loaded model stays."""
    before = engine(daemon)
    path = daemon.socket if what == "socket" else daemon.runtime_dir / "lock"
    path.unlink()
    wait_for(path.exists, "it to come back")
    assert chat(daemon.http) == 200
    with daemon.client() as client:
        assert chat(client) == 200
    assert engine(daemon) == before


@pytest.mark.parametrize("what", ["runtime", "state"])
def test_what_cannot_come_back_ends_the_daemon(daemon: DaemonProcess, what: str) -> None:
    """With an exit status that a supervisor sees, and a sentence."""
    assert daemon.process is not None
    if what == "state":
        daemon.state_dir.rename(daemon.root / "elsewhere")
    else:
        shutil.rmtree(daemon.runtime_dir)
        daemon.runtime_dir.write_text("in the way")
    assert daemon.process.wait(LIMIT) == 1
    assert "the daemon ends: " in daemon.text()
    if what == "runtime":
        daemon.runtime_dir.unlink()
        daemon.runtime_dir.mkdir()


def test_a_crash_is_still_called_one(daemon: DaemonProcess) -> None:
    """Who finds a dead engine first does not hide what it died of."""
    engine(daemon).send_signal(signal.SIGSEGV)
    wait_for(lambda: daemon.engines() == [] or chat(daemon.http) == 200, "the crash")
    wait_for(lambda: "killed by SIGSEGV" in daemon.text(), "the log to say so")
