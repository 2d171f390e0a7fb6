"""What a killed daemon leaves of models that were on their way: it is told of, and goes."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

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
