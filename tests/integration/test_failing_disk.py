"""A daemon whose disk fails under it: what it says, what it does, what a restart finds."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from runnerd.models import tiny
from tests.support.daemon import JSON, DaemonProcess, running
from tests.support.ggufs import smallest_model
from tests.support.waiting import SECONDS, wait_for


@contextmanager
def failing(daemon: DaemonProcess, call: str, error: str, *paths: Path) -> Iterator[None]:
    """Let a system call of the daemon on these files or folders fail."""
    assert daemon.process is not None
    pid, log = daemon.process.pid, daemon.root / "strace.log"
    command = ["strace", "-f", "-o", str(log), "-p", str(pid), "-e", f"trace={call}"]
    command += [argument for path in paths for argument in ("-P", str(path))]
    tracer = subprocess.Popen(
        [*command, "-e", f"inject={call}:error={error}"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert tracer.stderr is not None
        if "attached" not in (line := tracer.stderr.readline()):
            pytest.skip(f"strace may not trace here: {line}")
        wait_for(lambda: _traced(pid), "strace to hold every thread")
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=30 * SECONDS)


def _traced(pid: int) -> bool:
    for task in Path(f"/proc/{pid}/task").iterdir():
        if "TracerPid:\t0\n" in (task / "status").read_text():
            return False
    return True


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    """A daemon with two models."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    tiny.write_completion_model(tmp_path / "tiny.gguf")
    with running(tmp_path / "home") as daemon:
        daemon.import_model(tmp_path / "tiny.gguf", "tiny")
        (tmp_path / "small.gguf").write_bytes(smallest_model())
        daemon.import_model(tmp_path / "small.gguf", "small")
        yield daemon


def tags(daemon: DaemonProcess) -> set[str]:
    return {tag for model in daemon.http.get("/models").json() for tag in model["tags"]}


def change(daemon: DaemonProcess, what: str, path: Path) -> httpx.Response:
    if what == "tag":
        return daemon.http.post("/models/tiny/tag?repo=other&tag=x", headers=JSON)
    if what == "removal":
        return daemon.http.delete("/models/small", headers=JSON)
    if what == "configuration":
        document = {"model": "tiny", "context-size": 64}
        return daemon.http.post("/engines/_configure", json=document, headers=JSON)
    path.write_bytes(smallest_model().replace(b"t\1\0\0\0", b"q\1\0\0\0"))
    return daemon.http.post("/models/import", json={"path": str(path), "tag": "new"})


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("tag", "EIO"),
        ("removal", "EIO"),
        ("import", "EIO"),
        ("configuration", "EIO"),
        ("tag", "EROFS"),
    ],
)
def test_the_sync_of_the_folder_fails(
    what: str, error: str, daemon: DaemonProcess, tmp_path: Path
) -> None:
    """Whatever is answered, it is a 507 that says why, and a restart finds what there was."""
    folder = daemon.state_dir if what == "configuration" else daemon.state_dir / "models"
    with failing(daemon, "fsync", error, folder):
        response = change(daemon, what, tmp_path / "new.gguf")
        assert response.status_code == 507, response.text
        message = response.json()["error"]["message"]
        assert ("input/output error" if error == "EIO" else "read-only") in message
        if what != "import":  # that is found out before anything was done
            assert "the change was made" in message
        before = tags(daemon)
        stored = daemon.http.get("/engines/_configure").json()
        if what in ("tag", "removal"):
            refused = change(daemon, "tag", tmp_path)
            assert refused.status_code == 507
            assert "nothing else is changed" in refused.json()["error"]["message"]
    assert ("ai/small:latest" in before) == (what != "removal")
    assert ("other:x" in before or "ai/other:x" in before) == (what == "tag")
    assert bool(stored) == (what == "configuration")
    daemon.kill()
    daemon.start()
    assert tags(daemon) == before
    assert daemon.http.get("/engines/_configure").json() == stored
    assert "damaged" not in daemon.text()
    assert change(daemon, "tag", tmp_path).status_code == 201


@pytest.mark.engine
def test_runners_follow_a_configuration_that_is_not_confirmed(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    """It is in force, so that an idle runner with the old one goes."""
    ask = {"model": "tiny", "prompt": "x", "max_tokens": 1}
    assert daemon.http.post("/v1/completions", json=ask).status_code == 200
    with failing(daemon, "fsync", "EIO", daemon.state_dir):
        response = change(daemon, "configuration", tmp_path)
        assert response.json()["error"]["code"] == "storage_unconfirmed"
        assert daemon.ps() == []
    assert daemon.http.post("/v1/completions", json=ask).status_code == 200
    assert [runner["context"] for runner in daemon.ps()] == [64]


@pytest.mark.parametrize(
    ("call", "error"),
    [("fsync", "ENOSPC"), ("fsync", "EDQUOT"), ("rename", "EPERM"), ("rename", "EFBIG")],
)
def test_every_errno_is_told(call: str, error: str, daemon: DaemonProcess, tmp_path: Path) -> None:
    """Before the commit point nothing has changed, and each errno has its sentence."""
    sentences = {"ENOSPC": "is full", "EDQUOT": "quota", "EFBIG": "larger", "EPERM": "immutable"}
    words = sentences[error]
    before = tags(daemon)
    blobs = sorted(os.listdir(daemon.state_dir / "models" / "blobs" / "sha256"))
    with failing(daemon, call, error):
        for what in ("tag", "import", "configuration"):
            response = change(daemon, what, tmp_path / "new.gguf")
            if what == "import" and call == "rename":  # met only after the first progress
                assert words in response.text.splitlines()[-1]
                continue
            assert response.status_code == 507, response.text
            assert words in response.json()["error"]["message"]
        assert tags(daemon) == before
    assert sorted(os.listdir(daemon.state_dir / "models" / "blobs" / "sha256")) == blobs
    daemon.kill()
    daemon.start()
    assert tags(daemon) == before
