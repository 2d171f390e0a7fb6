"""`runnerd pull` and its relatives, as people use them: in a pipe, on a terminal, interrupted."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration.test_cli import runnerd
from tests.support.daemon import DaemonProcess, running
from tests.support.fileserver import FileServer, serving
from tests.support.ggufs import smallest_model
from tests.support.plain_http import NO_TLS
from tests.support.registry import running_registry
from tests.support.waiting import wait_for

CONTENT = smallest_model() + bytes(40 * 2**20)


@pytest.fixture
def server() -> Iterator[FileServer]:
    """A server with a model of forty megabytes."""
    with serving(CONTENT) as server:
        yield server


@pytest.fixture
def daemon(tmp_path: Path, server: FileServer) -> Iterator[DaemonProcess]:
    """A daemon that may use it."""
    with running(tmp_path, env={"RUNNERD_ALLOWED_SOURCES": '["127.0.0.1"]'}) as daemon:
        yield daemon


def test_pull_in_a_pipe(daemon: DaemonProcess, server: FileServer) -> None:
    """Without a terminal there are no bars; JSON is JSON; an error is one line and a status."""
    status, out, err = runnerd(daemon, "pull", server.url("/m-Q4_0.gguf"))
    assert (status, err) == (0, "")
    assert out == "Model pulled successfully: m:q4_0\n"
    response = json.loads(runnerd(daemon, "pull", server.url("/m.gguf"), "--json")[1])
    assert response["tags"] == ["ai/m:q4_0", "ai/m:latest"]
    assert runnerd(daemon, "pulls")[0] == 0
    assert runnerd(daemon, "prune")[:2] == (0, "freed 0 B\n")
    status, _, err = runnerd(daemon, "pull", "https://10.0.0.1/x.gguf")
    assert (status, "allowed_sources" in err, len(err.splitlines())) == (1, True, 1)


def test_push_and_pull(tmp_path: Path, gguf: Path) -> None:
    """A model's way to a registry and back."""
    with (
        running_registry(tmp_path / "registry") as registry,
        running(tmp_path / "daemon", env=registry.settings) as daemon,
    ):
        name = f"{registry.host}/team/tiny:v1"
        runnerd(daemon, "import", str(gguf / "tiny.gguf"), "--tag", name)
        assert runnerd(daemon, "push", name)[:2] == (0, f"Model pushed successfully: {name}\n")
        runnerd(daemon, "rm", name)
        assert runnerd(daemon, "pull", name)[:2] == (0, f"Model pulled successfully: {name}\n")
        pushed = runnerd(daemon, "push", "--format", "modelpack", name)
        assert pushed[:2] == (0, f"Model pushed successfully: {name}\n")
        base = f"http://{registry.host}/v2/team/tiny/manifests/v1"
        accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
        found = httpx.get(base, headers=accept, verify=NO_TLS).json()
        assert found["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"


def test_interrupted_on_a_terminal(daemon: DaemonProcess, server: FileServer) -> None:
    """A terminal shows bars; Ctrl-C ends the watching, says how to end the pull, which goes on."""
    reached, release = threading.Event(), threading.Event()

    def pace(sent: int) -> None:
        if sent > 2**24:
            reached.set()
            release.wait(60)

    server.behaviour.pace = pace
    ours, theirs = pty.openpty()
    arguments = ["--host", f"unix://{daemon.socket}", "pull", server.url("/m.gguf")]
    process = subprocess.Popen(
        [sys.executable, "-m", "runnerd", *arguments],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(theirs)
    shown = bytearray()
    reader = threading.Thread(target=_read, args=(ours, shown))
    reader.start()
    try:
        assert reached.wait(30)
        wait_for(lambda: b"MB" in shown or b"MiB" in shown, "a bar")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    finally:
        process.kill()
        process.communicate()
        reader.join()
        os.close(ours)
    (job,) = daemon.http.get("/models/pulls").json()
    assert f"runnerd cancel {job['id']}".encode() in shown
    assert runnerd(daemon, "cancel", job["id"])[0] == 0
    assert daemon.http.get("/models/pulls").json() == []
    release.set()


def _read(descriptor: int, into: bytearray) -> None:
    try:
        while data := os.read(descriptor, 4096):
            into += data
    except OSError:  # the other side is closed
        pass
