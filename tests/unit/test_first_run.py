"""A daemon that runs already is found, with whose it is."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from runnerd.cli.first_run import running_daemon, talking


def test_whose_daemon_it_is(tmp_path: Path) -> None:
    """The first that answers; sockets that nobody listens on are none."""
    left, live = tmp_path / "left", tmp_path / "live"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(left))
    assert running_daemon([left, tmp_path / "none"]) is None
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(live))
        server.listen()
        assert running_daemon([left, live]) == (live, f"process {os.getpid()} of yours")
    left.unlink()
    live.unlink()


def test_what_to_type_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It works in another terminal, which has neither this one's variables nor its PATH."""
    for name in ("RUNNERD_SOCKET", "RUNNERD_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "runnerd").mkdir()
    usual, other = tmp_path / "runnerd" / "runnerd.sock", tmp_path / "other.sock"
    usual.touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert talking(usual, "ai/demo-a:latest").endswith("/bin/runnerd run demo-a")
    assert talking(other, "mine").endswith(f"/bin/runnerd --host {other} run mine")
    monkeypatch.setenv("RUNNERD_RUNTIME_DIR", str(usual.parent))
    assert talking(usual, "mine").endswith(f" --host {usual} run mine")
