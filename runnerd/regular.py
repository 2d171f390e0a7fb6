"""Files of the daemon's own, opened only when they are what was written there.

Whatever else may lie at a path (a pipe that nobody feeds, a folder, a link to somebody else's file,
a file of a terabyte, text that is no text) is refused with an OSError that says what it is.  So one
`except OSError` is enough for whoever reads, nothing ever blocks, and no link leads out of the
daemon's folders.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T")

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Unusable(OSError):
    """What lies at a path is not what belongs there; `strerror` says what it is."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(errno.EINVAL, problem, str(path))


def open_regular(
    path: Path, flags: int = os.O_RDONLY, mode: int = 0o640, *, follow: bool = False
) -> int:
    """Open a regular file and return its descriptor; never blocks.

    A symbolic link is only followed where a person named the path (`follow`).  Raises OSError.
    """
    try:
        status = os.stat(path, follow_symlinks=follow)
    except FileNotFoundError:
        if not flags & os.O_CREAT:
            raise
    else:
        _check(path, status)  # before it is opened: opening some devices does something
    flags |= os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags, mode)
    try:
        _check(path, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read(path: Path, *, most: int, follow: bool = False) -> bytes:
    """Return the content of a file of at most so many bytes.  Raises OSError."""
    descriptor = open_regular(path, follow=follow)
    with open(descriptor, "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise Unusable(path, f"it has more than {most} bytes, which it cannot have")
    return content


def read_json(path: Path, type: type[T], *, most: int) -> T:
    """Return the document in a file.  Raises OSError, also for what is no such document."""
    content = read(path, most=most)
    try:
        return msgspec.json.decode(content, type=type)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Unusable(path, f"its content is damaged ({_one_line(error)})") from error


def check_folder(path: Path) -> None:
    """Raise OSError unless a folder is at `path`; a link to one will do."""
    status = os.stat(path)
    if not stat.S_ISDIR(status.st_mode):
        raise Unusable(path, f"it is {kind(status)}, not a folder")


def kind(status: os.stat_result) -> str:
    """What a thing in the file system is, in words."""
    return _KINDS.get(stat.S_IFMT(status.st_mode), "a regular file")


def set_aside(path: Path) -> Path:
    """Move what lies at `path` out of the way and return where it is now.  Raises OSError."""
    aside = free_name(path)
    os.rename(path, aside)
    return aside


def free_name(path: Path) -> Path:
    """A path beside this one, at which nothing is, for what of it cannot be used."""
    number = 0
    while True:
        aside = path.with_name(f"{path.name}.unusable{number or ''}")
        if not os.path.lexists(aside):
            return aside
        number += 1


def _check(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Unusable(path, f"it is {kind(status)}, not a regular file")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
