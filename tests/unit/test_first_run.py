"""A daemon that runs already is found, with whose it is."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from runnerd.cli.first_run import running_daemon


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
