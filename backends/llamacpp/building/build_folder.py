"""The folder that a build takes place in, which goes when the build ends, however it ends.

A build that is killed (a power cut, the kernel out of memory) cannot remove its folder, and that is
a gigabyte.  So whoever builds holds a lock on it, which the kernel frees with the process, and the
next build removes those that nobody holds.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

_PREFIX = ".build-"


class BuildFolder:
    """A new folder below `root`, ours until `remove()`.  Blocks; raises OSError."""

    def __init__(self, root: Path) -> None:
        with _locked(root):  # so that nobody takes a folder for abandoned before it is locked
            _remove_abandoned(root)
            self.path = Path(tempfile.mkdtemp(dir=root, prefix=_PREFIX))
            self._lock = _open(self.path)
            _lock(self._lock)

    def remove(self) -> None:
        """Remove it with all that is in it.  Idempotent."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _remove_abandoned(root: Path) -> None:
    for folder in root.glob(f"{_PREFIX}*"):
        try:
            descriptor = _open(folder)
        except OSError:  # another's, or no folder
            continue
        try:
            if _lock(descriptor):
                log.info("removing what a build that was killed has left: %s", folder)
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(descriptor)


def _open(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def _lock(descriptor: int) -> bool:
    """Take the lock if it is free.  A file system without locks never says that it is."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    descriptor = _open(root)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            log.debug("%s cannot be locked: %s", root, error)
        yield
    finally:
        os.close(descriptor)
