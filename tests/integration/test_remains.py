"""What a killed daemon leaves of models that were on their way: it is told of, and goes."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_cli import runnerd
from tests.support.daemon import DaemonProcess, running
from tests.support.waiting import wait_for

SENT = 8 * 2**20


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    """A daemon of a test's own, which may be killed."""
    with running(tmp_path / "home") as daemon:
        yield daemon


def _send_half(daemon: DaemonProcess) -> socket.socket:
    """Begin to send a model's file, and wait until it lies on the disk as far as it was sent."""
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(daemon.socket))
    head = f"POST /api/blobs/sha256:{'a' * 64} HTTP/1.1\r\nHost: runnerd\r\nContent-Length: {2**30}"
    client.sendall(head.encode() + b"\r\n\r\n" + b"x" * SENT)
    folder = daemon.state_dir / "models" / "tmp"
    wait_for(lambda: sum(each.stat().st_size for each in folder.iterdir()) > 0, "the upload")
    return client


def test_what_was_being_written_goes_at_the_next_start(daemon: DaemonProcess) -> None:
    """Also where its name begins with a number that a living process has, as older ones did."""
    folder = daemon.state_dir / "models" / "tmp"
    with _send_half(daemon):
        daemon.kill()
    (left,) = folder.iterdir()
    left.rename(folder / f"1-{'a' * 16}")
    (folder / f"{os.getpid()}-{'b' * 16}").write_bytes(b"x")
    daemon.start()
    assert list(folder.iterdir()) == []


def _df(daemon: DaemonProcess) -> tuple[int, int, int]:
    usage = daemon.http.get("/engines/df").json()
    return (
        usage["models_disk_usage"],
        usage["unfinished_disk_usage"],
        usage["prunable_disk_usage"],
    )


def test_the_disk_use_has_what_is_unfinished(daemon: DaemonProcess) -> None:
    """What is being written counts, and cannot be pruned; what a prune says beforehand is freed."""
    store = daemon.state_dir / "models"
    assert _df(daemon) == (0, 0, 0)
    with _send_half(daemon):
        models, unfinished, prunable = _df(daemon)
        assert (models, prunable) == (0, 0)
        assert unfinished > 0
    wait_for(lambda: _df(daemon) == (0, 0, 0), "the upload to be given up")
    (store / "parts" / f"{'a' * 64}.part").write_bytes(os.urandom(2**20))
    (store / "parts" / f"{'a' * 64}.json").write_bytes(b"{}")
    (store / "blobs" / "sha256" / ("b" * 64)).write_bytes(bytes(2**20))
    (store / "uploads" / ("c" * 64)).write_bytes(bytes(2**20))
    models, unfinished, prunable = _df(daemon)
    assert models == 2 * 2**20
    assert unfinished >= 2**20
    assert prunable == models + unfinished
    status, out, _ = runnerd(daemon, "df")
    assert status == 0
    assert re.search(r"^partial  1\.0\d MiB \(pulls and imports", out, re.MULTILINE), out
    assert re.search(r"^prunable 3\.0\d MiB \(.*runnerd prune", out, re.MULTILINE), out
    assert daemon.http.post("/models/prune").json()["freed_bytes"] == prunable
    assert _df(daemon) == (0, 0, 0)
    assert "partial" not in runnerd(daemon, "df")[1]
