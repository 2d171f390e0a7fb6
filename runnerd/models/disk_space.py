"""The space on the store's disk: what is free, whether something fits, and claiming it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from runnerd.durable import storage_errors
from runnerd.errors import InsufficientStorage
from runnerd.models.layout import STORE
from runnerd.units import binary_size

_RESERVE_BYTES = 16 * 2**20  # left free for indexes and logs


def free_bytes(folder: Path) -> int:
    """What an ordinary user may still write to `folder`'s disk."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def allocated_bytes(path: Path) -> int:
    """What a file takes of the disk, 0 where there is none."""
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:
        return 0


def size_of(entry: os.DirEntry[str]) -> int:
    """The bytes of a file that was found in a folder, none where it has gone meanwhile."""
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0


def check_space(folder: Path, size: int) -> None:
    """Raise errors.InsufficientStorage where `size` further bytes would fill `folder`'s disk."""
    with storage_errors(STORE):
        free = free_bytes(folder)
    if size + _RESERVE_BYTES > free:
        raise InsufficientStorage(
            f"the model needs {binary_size(size)} and the store's disk has {binary_size(free)}"
            f" free, where {binary_size(_RESERVE_BYTES)} have to stay free; remove models with"
            " `runnerd rm` or move the state directory"
        )


def reserve(descriptor: int, size: int) -> None:
    """Claim the space of a file at once, so that a full disk shows before the work, not after it.

    Where the file system cannot, nothing happens.  Raises OSError.
    """
    if not size:
        return
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise
