"""A daemon whose database is locked, full, read-only or damaged: models are served on."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.integration.test_cli import runnerd
from tests.support.daemon import DaemonProcess, running
from tests.support.waiting import wait_for


@pytest.fixture
def daemon(tmp_path: Path, gguf: Path) -> Iterator[DaemonProcess]:
    """A daemon with a model and a user."""
    with running(tmp_path / "daemon") as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        assert add(daemon, "ann").status_code == 201
        yield daemon


def add(daemon: DaemonProcess, name: str) -> httpx.Response:
    return daemon.http.post("/runnerd/users", json={"name": name})


def names(daemon: DaemonProcess) -> list[str]:
    return [user["name"] for user in daemon.http.get("/runnerd/users").json()]


def chats(daemon: DaemonProcess) -> None:
    """See that the model answers."""
    chat = {"model": "tiny", "messages": [{"role": "user", "content": "x"}], "max_tokens": 2}
    response = daemon.http.post("/v1/chat/completions", json=chat)
    assert response.status_code == 200, response.text


def refused(response: httpx.Response, status: int, *words: str) -> None:
    message = response.json()["error"]["message"]
    assert response.status_code == status, message
    for word in words:
        assert word in message


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[None]:
    """A small file system of its own."""
    folder.mkdir(parents=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder])
    if done.returncode:
        pytest.skip("mounting is not permitted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.engine
def test_locked(daemon: DaemonProcess) -> None:
    """By another program: 503 with a time to come back; it goes well afterwards."""
    file = daemon.state_dir / "runnerd.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        response = add(daemon, "bob")
        refused(response, 503, "locked by another program")
        assert "locked by another program" in (problem(daemon) or "")
        assert response.headers["retry-after"]
        chats(daemon)
        assert names(daemon) == ["ann"]
        other.execute("ROLLBACK")
    assert add(daemon, "bob").status_code == 201


@pytest.mark.long
@pytest.mark.engine
def test_locked_from_the_start(daemon: DaemonProcess) -> None:
    """The daemon starts, serves, and has its users once the other program has ended."""
    daemon.terminate()
    file = daemon.state_dir / "runnerd.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        daemon.start()
        refused(add(daemon, "bob"), 503, "locked by another program")
        chats(daemon)
        assert names(daemon) == []
        key = {"Authorization": f"Bearer {'A' * 43}"}
        response = daemon.http.get("/v1/models", headers=key)
        refused(response, 503, "who has which key", "locked")
        assert response.headers["retry-after"]
        placeholder = {"Authorization": "Bearer ollama"}
        assert daemon.http.get("/models", headers=placeholder).status_code == 200
    assert daemon.http.get("/models", headers=key).status_code in (401, 503)
    wait_for(lambda: names(daemon) == ["ann"], "the users to be read")
    assert add(daemon, "bob").status_code == 201


@pytest.mark.engine
def test_a_file_that_may_not_grow(daemon: DaemonProcess) -> None:
    """507, which says why; what is there stays."""
    assert daemon.process is not None
    log_file = daemon.state_dir / "runnerd.db-wal"
    limits = resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE)
    chats(daemon)
    resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (4096, limits[1]))
    assert log_file.stat().st_size > 4096
    refused(add(daemon, "bob"), 507, "ulimit -f")
    chats(daemon)
    assert names(daemon) == ["ann"]
    resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, limits)
    assert add(daemon, "bob").status_code == 201


def problem(daemon: DaemonProcess) -> str | None:
    said = daemon.http.get("/runnerd/database").json()["problem"]
    assert said is None or isinstance(said, str)
    return said


def test_changes_that_fail_are_told_of(tmp_path: Path) -> None:
    """As long as they would: until one is written, or could be, though nobody tries."""
    with running(tmp_path / "daemon") as daemon:
        assert daemon.process is not None
        assert add(daemon, "ann").status_code == 201
        assert problem(daemon) is None
        limits = resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE)
        for somebody_tries in (True, False):
            resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (4096, limits[1]))
            refused(add(daemon, "eve"), 507, "ulimit -f")
            assert "ulimit -f" in (problem(daemon) or "")
            status, out, _ = runnerd(daemon, "status")
            assert status == 0
            assert "\ndatabase: " in out
            assert "ulimit -f" in out
            resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, limits)
            assert not somebody_tries or add(daemon, "bob").status_code == 201
            wait_for(lambda: problem(daemon) is None, "the database to be well")
        assert names(daemon) == ["ann", "bob"]


@pytest.mark.long
@pytest.mark.engine
def test_a_full_disk(tmp_path: Path, gguf: Path) -> None:
    """507, which says so; also from the start, and all is well once there is room."""
    state = tmp_path / "daemon" / "state"
    with mounted(state, "32m"), running(tmp_path / "daemon") as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        assert add(daemon, "ann").status_code == 201
        filler = state / "filler"
        fill(filler)
        refused(add(daemon, "bob"), 507, "full")
        assert "full" in (problem(daemon) or "")
        chats(daemon)
        daemon.terminate()
        fill(filler)
        daemon.start()
        assert names(daemon) == ["ann"]
        refused(add(daemon, "bob"), 507, "full")
        chats(daemon)
        assert "full" in (problem(daemon) or "")
        filler.unlink()
        wait_for(lambda: problem(daemon) is None, "the database to be well")
        wait_for(lambda: add(daemon, "bob").status_code in (201, 409), "a user to be added")
        assert names(daemon) == ["ann", "bob"]


def fill(file: Path) -> None:
    """Take all room that there is."""
    with open(file, "ab") as written, contextlib.suppress(OSError):
        while os.write(written.fileno(), bytes(4096)):
            pass


@pytest.mark.engine
@pytest.mark.parametrize("clean", [True, False])
def test_read_only(tmp_path: Path, gguf: Path, clean: bool) -> None:
    """507, which says so; also from the start, whether the last daemon ended well or not."""
    state = tmp_path / "daemon" / "state"
    with mounted(tmp_path / "apart", "8m"), running(tmp_path / "daemon") as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        daemon.terminate()
        for ending in ("", "-wal", "-shm"):
            (state / f"runnerd.db{ending}").unlink(missing_ok=True)
        daemon.start()
        assert add(daemon, "ann").status_code == 201
        if clean:
            daemon.terminate()
        else:
            daemon.kill()
        # The database alone: a state directory that cannot be locked is another matter.
        for file in state.glob("runnerd.db*"):
            shutil.move(file, tmp_path / "apart" / file.name)
            file.touch()
        subprocess.run(["mount", "-o", "remount,ro", tmp_path / "apart"], check=True)
        files = list((tmp_path / "apart").iterdir())
        for file in files:
            subprocess.run(["mount", "--bind", file, state / file.name], check=True)
        try:
            daemon.start()
            assert names(daemon) == ["ann"]
            refused(add(daemon, "bob"), 507, "the database")
            chats(daemon)
        finally:
            daemon.kill()
            for file in files:
                subprocess.run(["umount", "-l", state / file.name], check=True)
        daemon.start()
        for file in files:
            shutil.copy(file, state / file.name)


@pytest.mark.engine
def test_damaged_under_a_daemon(daemon: DaemonProcess) -> None:
    """503, which says what to do; users go on as long as the daemon runs."""
    daemon.terminate()
    daemon.start()
    file = daemon.state_dir / "runnerd.db"
    with open(file, "r+b") as written:
        written.write(b"damage" * (file.stat().st_size // 6))
    refused(daemon.http.get("/runnerd/audit"), 503, "damaged", "runnerd restore")
    refused(add(daemon, "bob"), 503, "damaged", "runnerd restore")
    refused(add(daemon, "bob"), 503, "damaged", "runnerd restore")
    chats(daemon)
    assert names(daemon) == ["ann"]


def test_newer(daemon: DaemonProcess) -> None:
    """The daemon does not start with a database of the future, and says what to do."""
    daemon.terminate()
    with closing(sqlite3.connect(daemon.state_dir / "runnerd.db")) as connection:
        connection.execute("PRAGMA user_version = 99")
    daemon.start(ready=False)
    assert daemon.process is not None
    assert daemon.process.wait(60) == 1
    assert "written by a newer runnerd" in daemon.text()
