"""Files and folders that an engine's user gets for as long as the engine runs.

An engine may have made anything of what it had: links to files of others among it.  So nothing is
given to another user that did not belong to this one, nothing that has a second name, and no link
is followed; what else is found goes.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from runnerd.deep_removal import remove_folder
from runnerd.regular import open_regular


def hand_over(paths: Iterable[Path], uid: int, ours: Callable[[int], bool]) -> None:
    """Give files, and folders with what is in them, to a user; `ours` says of a number whether it
    is the daemon's or an engine's.  Raises OSError.

    A folder that an engine has filled so that it cannot be given is given empty.
    """
    for path in paths:
        try:
            _give(path, uid, uid, ours)
        except (OSError, RecursionError):
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                raise
            remove_folder(path)
            path.mkdir(mode=0o700, exist_ok=True)
            _give(path, uid, uid, ours)


def take_back(paths: Iterable[Path], ours: Callable[[int], bool]) -> None:
    """Make files and folders the daemon's again, what still is there of them."""
    for path in paths:
        with contextlib.suppress(OSError, RecursionError):
            _give(path, os.geteuid(), os.getegid(), ours)


def take_file(path: Path, owner: int) -> None:
    """Make a file the daemon's that an engine's user wrote.  Raises OSError for anything else."""
    descriptor = open_regular(path)
    try:
        found = os.fstat(descriptor)
        if found.st_uid not in (owner, os.geteuid()) or found.st_nlink != 1:
            raise PermissionError(1, "it is not the engine's own", str(path))
        if found.st_uid != os.geteuid():
            os.fchown(descriptor, os.geteuid(), os.getegid())
    finally:
        os.close(descriptor)


def open_to_read(path: Path) -> None:
    """Let every user read a file of ours who can reach it.  Raises OSError."""
    descriptor = open_regular(path)
    try:
        found = os.fstat(descriptor)
        if found.st_uid == os.geteuid() and not found.st_mode & stat.S_IROTH:
            os.fchmod(descriptor, stat.S_IMODE(found.st_mode) | stat.S_IROTH)
    finally:
        os.close(descriptor)


def _give(path: Path, uid: int, gid: int, ours: Callable[[int], bool]) -> None:
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode):
        if not _is_sound(status, ours):
            raise PermissionError(1, "it is not the daemon's own", str(path))
        os.chown(path, uid, gid, follow_symlinks=False)
        return
    for _, folders, files, descriptor in os.fwalk(path, topdown=False, follow_symlinks=False):
        for name in (*folders, *files):
            found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            if _is_sound(found, ours):
                os.chown(name, uid, gid, dir_fd=descriptor, follow_symlinks=False)
            elif not stat.S_ISDIR(found.st_mode):
                os.unlink(name, dir_fd=descriptor)
    os.chown(path, uid, gid, follow_symlinks=False)


def _is_sound(status: os.stat_result, ours: Callable[[int], bool]) -> bool:
    if stat.S_ISDIR(status.st_mode):
        return ours(status.st_uid)
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and ours(status.st_uid)
