"""Who may listen at a socket that nobody has named."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runnerd.sockets.found import StrangersSocket, check_found, expected_listeners
from tests.support.strangers import NOBODY, needs_root


@pytest.fixture
def open_to_all(tmp_path: Path) -> Path:
    """A folder like /tmp."""
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


def folder_in(parent: Path, *, mode: int = 0o755, uid: int | None = None) -> Path:
    """A folder for a socket, of whom and with which mode."""
    folder = parent / "runnerd"
    folder.mkdir()
    folder.chmod(mode)
    if uid is not None:
        os.chown(folder, uid, uid)
    return folder


def test_our_own_folder(open_to_all: Path) -> None:
    """We ourselves and root may listen there."""
    folder = folder_in(open_to_all)
    assert expected_listeners(f"{folder}/runnerd.sock") == {os.geteuid(), 0}


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777])
def test_a_folder_that_others_may_write_to(open_to_all: Path, mode: int) -> None:
    """They can put a socket there before the daemon does, sticky or not."""
    folder = folder_in(open_to_all, mode=mode)
    with pytest.raises(StrangersSocket, match=r"may be changed by others; run `chmod go-w"):
        expected_listeners(f"{folder}/runnerd.sock")


def test_what_is_no_folder(open_to_all: Path) -> None:
    """A symbolic link is whoever's who made it, wherever it leads; a file is nothing."""
    folder_in(open_to_all)
    (open_to_all / "link").symlink_to("runnerd")
    (open_to_all / "file").touch()
    for name in ("link", "file"):
        with pytest.raises(StrangersSocket, match=r"symbolic link|not a directory"):
            expected_listeners(f"{open_to_all}/{name}/runnerd.sock")
    with pytest.raises(FileNotFoundError):
        expected_listeners(f"{open_to_all}/none/runnerd.sock")


@needs_root()
def test_a_strangers_folder(open_to_all: Path) -> None:
    """Where everybody can make folders it is the stranger's; below root's own root has given it."""
    folder = folder_in(open_to_all, uid=NOBODY)
    with pytest.raises(StrangersSocket, match=rf"{folder} belongs to uid {NOBODY}.*--host"):
        expected_listeners(f"{folder}/runnerd.sock")
    open_to_all.chmod(0o755)
    assert expected_listeners(f"{folder}/runnerd.sock") == {os.geteuid(), 0, NOBODY}
    os.chown(open_to_all, NOBODY, NOBODY)
    with pytest.raises(StrangersSocket):
        expected_listeners(f"{folder}/runnerd.sock")


@contextmanager
def connected(path: Path, *, listener: int) -> Iterator[socket.socket]:
    """A connection to a socket at which a process of some uid listens."""
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(path))
        before = os.geteuid()
        os.seteuid(listener)
        try:
            server.listen()
        finally:
            os.seteuid(before)
        client.connect(str(path))
        yield client
    path.unlink()


def test_who_listens(tmp_path: Path) -> None:
    """The kernel says who it is; nobody is not us."""
    path = tmp_path / "s"
    with connected(path, listener=os.geteuid()) as client:
        check_found(client, str(path), {os.geteuid()})
        with pytest.raises(StrangersSocket, match=f"uid {os.geteuid()} listens at {path}"):
            check_found(client, str(path), {os.geteuid() + 1})
    with socket.socket() as over_tcp, pytest.raises(StrangersSocket, match="nobody knows who"):
        check_found(over_tcp, str(path), {os.geteuid()})


@needs_root()
def test_a_stranger_listens(tmp_path: Path) -> None:
    """In a folder that is ours somebody else was given the socket."""
    with (
        connected(tmp_path / "s", listener=NOBODY) as client,
        pytest.raises(StrangersSocket, match=f"uid {NOBODY}"),
    ):
        check_found(client, "s", {0})
