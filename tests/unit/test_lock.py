"""One daemon per directory, however the other one ended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import runnerd
from runnerd.errors import StartupError
from runnerd.sockets.lock import DirectoryLock

CHECKOUT = Path(runnerd.__file__).parent.parent

HOLDER = """
import sys
from pathlib import Path
from runnerd.sockets.lock import DirectoryLock
DirectoryLock(Path(sys.argv[1]), "the state directory").acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_second_lock_names_the_holder(tmp_path: Path) -> None:
    """Whoever comes second is told which process has it, and the first one keeps it."""
    with DirectoryLock(tmp_path, "the state directory"):
        with pytest.raises(StartupError, match=f"already running: process {os.getpid()} .*state"):
            DirectoryLock(tmp_path, "the state directory").acquire()
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_lock_is_free_after_release(tmp_path: Path) -> None:
    """Release gives it up, twice is harmless, and the next one gets it."""
    first = DirectoryLock(tmp_path, "the state directory")
    first.acquire()
    first.acquire()
    first.release()
    first.release()
    with DirectoryLock(tmp_path, "the state directory"):
        pass


def test_lock_of_another_process_ends_with_kill_9(tmp_path: Path) -> None:
    """A live process holds it; once it was killed the lock is free, whatever the file says."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=CHECKOUT,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StartupError, match=f"process {holder.pid} "):
            DirectoryLock(tmp_path, "the state directory").acquire()
        holder.kill()
    with DirectoryLock(tmp_path, "the state directory"):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_children_do_not_inherit_the_lock(tmp_path: Path) -> None:
    """A child that outlives us must not keep the directory locked."""
    lock = DirectoryLock(tmp_path, "the state directory")
    lock.acquire()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False):
        lock.release()
        with DirectoryLock(tmp_path, "the state directory"):
            pass


def test_replaced_lock_file_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the file is deleted between open and lock, the lock is taken on the file that is there."""
    lock, opened = DirectoryLock(tmp_path, "the state directory"), []
    really_open = lock._open

    def open_and_lose() -> int:
        fd = really_open()
        opened.append(fd)
        if len(opened) == 1:
            (tmp_path / "lock").unlink()
        return fd

    monkeypatch.setattr(lock, "_open", open_and_lose)
    with lock, pytest.raises(StartupError, match="already running"):
        DirectoryLock(tmp_path, "the state directory").acquire()
    assert len(opened) == 2


def test_unknown_holder_is_called_another_process(tmp_path: Path) -> None:
    """What is in the file is only for messages: nonsense does not break them."""
    with DirectoryLock(tmp_path, "the state directory"):
        (tmp_path / "lock").write_text("nonsense")
        with pytest.raises(StartupError, match="another process"):
            DirectoryLock(tmp_path, "the state directory").acquire()


def test_symlink_is_not_followed(tmp_path: Path) -> None:
    """A link named `lock` could make us truncate somebody's file."""
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(StartupError, match="cannot lock the state directory"):
        DirectoryLock(tmp_path, "the state directory").acquire()
    assert (tmp_path / "precious").read_text() == "precious"


def test_named_pipe_neither_hangs_nor_locks(tmp_path: Path) -> None:
    """Something else of that name is refused at once."""
    os.mkfifo(tmp_path / "lock")
    with pytest.raises(StartupError, match="not a regular file"):
        DirectoryLock(tmp_path, "the state directory").acquire()


def test_missing_directory_is_named(tmp_path: Path) -> None:
    """The message has the path."""
    with pytest.raises(StartupError, match="absent/lock: No such file"):
        DirectoryLock(tmp_path / "absent", "the state directory").acquire()
