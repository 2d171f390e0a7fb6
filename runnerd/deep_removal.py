"""Removing a folder that a stranger has filled, however deep.

`shutil.rmtree` calls itself for each level, and has a descriptor open for each: a program that puts
a thousand folders into each other ends it with an error that no `ignore_errors` holds back.  Here
what lies in a folder of a folder is moved up first, so nothing depends on the depth.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from collections.abc import Iterator
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_folder(path: Path) -> None:
    """Remove a folder with everything in it; what cannot be removed stays.  Follows no link."""
    with contextlib.suppress(OSError):
        top = os.open(path, _FOLDER)
        try:
            _empty(top)
        finally:
            os.close(top)
        os.rmdir(path)


def _empty(top: int) -> None:
    """Remove what is in an open folder.  Raises OSError."""
    fresh = (f".rm-{number}" for number in itertools.count())
    waiting = os.listdir(top)
    while waiting:
        name = waiting.pop()
        if not stat.S_ISDIR(os.stat(name, dir_fd=top, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=top)
            continue
        below = os.open(name, _FOLDER, dir_fd=top)
        try:
            waiting += [_move_up(inside, below, top, fresh) for inside in os.listdir(below)]
        finally:
            os.close(below)
        os.rmdir(name, dir_fd=top)


def _move_up(name: str, below: int, top: int, fresh: Iterator[str]) -> str:
    """Move something from one open folder to another, under a name that nothing has there."""
    for there in fresh:
        try:
            os.stat(there, dir_fd=top, follow_symlinks=False)
        except FileNotFoundError:
            os.rename(name, there, src_dir_fd=below, dst_dir_fd=top)
            return there
    raise AssertionError("the names do not end")
