"""Small files that are either the old or the new ones, whatever happens meanwhile.

A file is written under a temporary name, synced, renamed, and its folder synced.  That a disk is
full is a condition of the host and not a fault of the daemon, so it has an error of its own.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from runnerd.errors import InsufficientStorage


def replace(
    path: Path, content: bytes, *, temporary: Path | None = None, mode: int = 0o640
) -> None:
    """Replace a file; `temporary` is a free name on the same disk, beside it where none is given.

    Raises errors.InsufficientStorage; the old file is then as it was.
    """
    if temporary is None:
        temporary = path.with_name(path.name + ".new")
        temporary.unlink(missing_ok=True)
    try:
        with storage_errors():
            write_new(temporary, content, mode=mode)
            os.rename(temporary, path)
            sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_new(path: Path, content: bytes, *, mode: int = 0o640) -> None:
    """Write a file that did not exist, down to the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def storage_errors() -> Iterator[None]:
    """Turn a full disk or quota into errors.InsufficientStorage."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise InsufficientStorage(
            "the disk with the daemon's state is full; remove models with `runnerd rm` or free some"
            " space"
        ) from error
