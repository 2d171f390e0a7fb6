"""Whoever makes a usual place first gets neither key nor prompt: the commands, for real."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from runnerd.cli.client import Client
from tests.support.daemon import running
from tests.support.strangers import NOBODY, needs_root

_KEY = "rk-secret"


class Trap:
    """A stranger's folder in a place that is open to all, and what its socket was told."""

    def __init__(self, place: Path) -> None:
        place.mkdir()
        place.chmod(0o1777)
        self.place, self.folder = place, place / "runnerd"
        self.folder.mkdir()
        self.told = b""
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(self.folder / "runnerd.sock"))
        self._server.listen()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection:
                self.told += connection.recv(65536)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()
        for path in self.place.rglob("*.sock"):
            path.unlink()

    def spring(self, *command: str, named: bool = False) -> tuple[int, str]:
        """Run a command of somebody whose login's folder this is said to be."""
        dropped = ("RUNNERD_SOCKET", "RUNNERD_RUNTIME_DIR", "RUNNERD_HOST")
        environ = {name: value for name, value in os.environ.items() if name not in dropped}
        environ |= {"XDG_RUNTIME_DIR": str(self.place), "RUNNERD_KEY": _KEY}
        if named:
            environ["RUNNERD_HOST"] = f"unix://{self.folder}/runnerd.sock"
        done = subprocess.run(
            [sys.executable, "-m", "runnerd", *command],
            env=environ, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[Trap]:
    trap = Trap(tmp_path / "open")
    yield trap
    trap.close()


@needs_root()
@pytest.mark.parametrize(
    "command",
    [
        ("ls",),
        ("run", "mine", "a secret"),
        ("ui", "--no-browser"),
        ("launch", "claude"),
        ("submit", "mine", "a secret"),
        ("complete", "--", "run", ""),
        ("doctor",),
        ("serve", "--first-run"),
    ],
    ids=lambda command: command[0],
)
def test_a_strangers_folder(trap: Trap, command: tuple[str, ...]) -> None:
    """Nothing is sent, and who can be told is told whose the folder is."""
    os.chown(trap.folder, NOBODY, NOBODY)
    status, said = trap.spring(*command)
    assert trap.told == b""
    if command[0] != "complete":  # which is silent
        assert f"{trap.folder} belongs to uid {NOBODY}" in said
        assert "--host" in said or "RUNNERD_RUNTIME_DIR" in said
    assert status != 0 or command[0] in ("complete", "doctor")


@needs_root()
def test_what_is_named_is_the_users_choice(trap: Trap) -> None:
    """Who says which socket has judged it."""
    os.chown(trap.folder, NOBODY, NOBODY)
    trap.spring("ls", named=True)
    assert _KEY.encode() in trap.told


@pytest.mark.parametrize("fault", ["link", "writable"])
def test_a_folder_that_others_can_change(trap: Trap, fault: str) -> None:
    """It is no better than a stranger's."""
    if fault == "link":
        trap.folder.rename(trap.place / "elsewhere")
        trap.folder.symlink_to("elsewhere")
    else:
        trap.folder.chmod(0o777)
    status, said = trap.spring("ls")
    assert (status, trap.told) == (1, b"")
    assert "symbolic link" in said or "may be changed by" in said


@pytest.mark.engine
def test_our_own_daemon_is_found(tmp_path: Path) -> None:
    """In the folder that a daemon has made or checked itself, below one that is open to all."""
    with running(tmp_path) as daemon:
        client = Client(f"unix://{daemon.socket}", found=True)
        with client.open("GET", "/version", headers={"Connection": "close"}) as response:
            assert response.status == 200
