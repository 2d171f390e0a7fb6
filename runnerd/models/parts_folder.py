"""The folder in which parts lie: who has one open, what all occupy, and which are too old."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import threading
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from runnerd.errors import Conflict
from runnerd.models.layout import Layout, discard
from runnerd.regular import Unusable, open_regular, set_aside

log = logging.getLogger(__name__)

_trying = threading.Lock()


def occupied(folder: Path, *, beside: Collection[str] = ()) -> int:
    """The bytes that the files of a folder have on the disk, but for those in `beside`."""
    total = 0
    for entry in os.scandir(folder):
        if entry.name not in beside:
            with contextlib.suppress(FileNotFoundError):
                total += entry.stat().st_blocks * 512
    return total


def sweep(layout: Layout, *, age: float) -> int:
    """Remove parts that nobody has open and that were written more than `age` seconds ago.

    One from the future, as the clock was set back, counts as old too: it would never grow old.
    Returns the bytes that became free.
    """
    freed = 0
    for path, size in _old(layout, age):
        discard(path)
        freed += size
    return freed


def old_bytes(layout: Layout, *, age: float) -> int:
    """The bytes that `sweep` would make free."""
    return sum(size for _, size in _old(layout, age))


def _old(layout: Layout, age: float) -> Iterator[tuple[Path, int]]:
    now = time.time()
    for path in sorted(layout.parts.iterdir(), reverse=True):  # a part before its journal
        with contextlib.suppress(FileNotFoundError):
            status = path.lstat()
            if abs(now - status.st_mtime) >= age and not _is_locked(path.with_suffix(".part")):
                yield path, status.st_blocks * 512


def _is_locked(path: Path) -> bool:
    """Say whether somebody has a part open, by a try: meanwhile nobody else may be refused."""
    try:
        descriptor = open_regular(path)
    except (FileNotFoundError, Unusable):  # no part of ours
        return False
    with _trying:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
    return False


def open_locked(path: Path) -> int:
    """Open a part for this process alone.  Raises errors.Conflict when another one has it."""
    _make_writable(path)
    while True:
        descriptor = open_regular(path, os.O_RDWR | os.O_CREAT)
        try:
            with _trying:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:
            pass  # swept between the opening and the lock
        except BaseException as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                raise Conflict("another process is fetching this file") from error
            raise
        os.close(descriptor)


def _make_writable(path: Path) -> None:
    """A part that was complete once, but whose daemon ended before it became a blob, is not."""
    try:
        descriptor = open_regular(path)
    except FileNotFoundError:
        return
    except Unusable:
        log.warning("%s is no part of a file and was moved to %s", path, set_aside(path))
        return
    try:
        os.fchmod(descriptor, 0o640)
    finally:
        os.close(descriptor)
