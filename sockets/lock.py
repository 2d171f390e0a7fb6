"""One daemon per directory.

Binding a Unix socket never fails because another daemon serves on its name: the second one would
take the clients and leave the first one's engines orphaned.  So a daemon first takes a lock that
the kernel frees when the process ends, however it ends.  The lock file itself stays: removing it
would let two processes lock two different files of one name.
"""

from __future__ import annotations

import fcntl
import logging
import os
import stat
from pathlib import Path
from types import TracebackType

from runnerd.errors import StartupError

log = logging.getLogger(__name__)


class DirectoryLock:
    """An exclusive claim on `directory`, held from `acquire()` to `release()` or the process's end.

    `purpose` names the directory in messages ("the state directory").  Children do not inherit it.
    """

    def __init__(self, directory: Path, purpose: str) -> None:
        self.path = directory / "lock"
        self.purpose = purpose
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock or raise StartupError, naming the process that holds it.  Idempotent."""
        while self._fd is None:
            fd = self._open()
            try:
                self._lock(fd)
                if self._is_current(fd):  # else somebody replaced the file while we waited: again
                    _write_pid(fd)
                    self._fd, fd = fd, -1
            finally:
                if fd >= 0:
                    os.close(fd)

    @property
    def held(self) -> bool:
        """Whether the claim still stands: nobody has removed or replaced the file."""
        return self._fd is not None and self._is_current(self._fd)

    def release(self) -> None:
        """Give the lock up.  Idempotent."""
        if self._fd is None:
            return
        fd, self._fd = self._fd, None
        try:
            os.ftruncate(fd, 0)
        except OSError as error:  # a read-only or broken disk must not keep us from stopping
            log.debug("cannot empty %s: %s", self.path, error)
        finally:
            os.close(fd)

    def __enter__(self) -> DirectoryLock:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def _open(self) -> int:
        # O_NONBLOCK: a named pipe of that name must not hang us.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            fd = os.open(self.path, flags, 0o600)
        except OSError as error:
            raise StartupError(
                f"cannot lock {self.purpose}: {self.path}: {error.strerror}"
            ) from error
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise StartupError(
                f"cannot lock {self.purpose}: {self.path} is not a regular file; move it away"
            )
        return fd

    def _lock(self, fd: int) -> None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StartupError(
                f"already running: {_holder(fd)} uses {self.purpose} {self.path.parent};"
                " stop it first, or give this one a directory of its own"
            ) from error
        except OSError as error:
            raise StartupError(
                f"cannot lock {self.path}: {error.strerror}; {self.purpose} must be on a local disk"
            ) from error

    def _is_current(self, fd: int) -> bool:
        try:
            return os.path.samestat(os.fstat(fd), os.lstat(self.path))
        except (FileNotFoundError, NotADirectoryError):
            return False


def _write_pid(fd: int) -> None:
    """Say who we are, for messages only: the claim itself is the kernel's."""
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"%d\n" % os.getpid(), 0)
    except OSError as error:  # a full disk
        log.warning("cannot record our pid in the lock file: %s", error.strerror)


def _holder(fd: int) -> str:
    text = os.pread(fd, 32, 0).strip()
    return f"process {int(text)}" if text.isdigit() else "another process"
