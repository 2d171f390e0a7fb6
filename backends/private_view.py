"""What an engine with a user of its own sees of folders that are closed to other users.

Models, engines and sockets mostly lie below folders that only the daemon's user may enter: a state
directory, root's home.  An engine with another user gets a mount namespace in which each such
folder is an empty one with nothing in it but what this engine needs, under the same paths.  So no
folder is opened to anybody, no path in its arguments changes, parts of a split model and libraries
beside a program are found by their names, and whatever else is in there does not exist for it.

Looking at the paths is the daemon's part (`View.of`); the child carries it out between fork and
exec (`View.enter`), with a few system calls.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_NEW_NAMESPACE = 0x00020000
_READ_ONLY, _NO_SUID, _NO_DEV = 1, 2, 4
_REMOUNT, _BIND, _RECURSIVE, _SLAVE = 32, 4096, 16384, 1 << 19
_MOST_LINKS = 40  # as the kernel follows in one path


class Closed(Exception):
    """A path that cannot be shown to another user; says why."""


@dataclass(frozen=True, slots=True)
class View:
    """`covered` are the folders that are replaced, `shown` what is put into them under its own
    path, `folders` and `files` what has to be made there before, `links` the symbolic links.
    """

    covered: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, paths: Iterable[Path]) -> View:
        """What has to be done so that other users reach `paths`; what is absent is passed over.

        Looks at the disk.  Raises Closed, OSError.
        """
        walk = _Walk()
        for path in paths:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                walk.visit(str(path))
        return walk.view()

    def hides(self, path: str) -> bool:
        """Whether other users cannot reach a path without this view."""
        return _below(path, self.covered)

    def enter(self, library: ctypes.CDLL) -> None:
        """Let it be what the calling process sees.  For the child itself.  Raises OSError."""
        if not self.covered:
            return
        _call(library.unshare(ctypes.c_int(_NEW_NAMESPACE)), "a namespace")
        # What the host unmounts goes here, too; nothing that is done here goes to the host.
        _mount(library, None, "/", _RECURSIVE | _SLAVE)
        held = [os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC) for path in self.shown]
        before = os.umask(0o022)
        for folder in self.covered:
            _mount(library, "tmpfs", folder, _NO_SUID | _NO_DEV, "mode=0755,size=1m")
        for folder in self.folders:
            os.mkdir(folder)
        for file in self.files:
            os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC))
        for link, target in self.links:
            os.symlink(target, link)
        for path, descriptor in zip(self.shown, held, strict=True):
            _mount(library, f"/proc/self/fd/{descriptor}", path, _BIND | _RECURSIVE)
        for folder in self.covered:
            _mount(library, None, folder, _REMOUNT | _READ_ONLY | _NO_SUID | _NO_DEV)
        os.umask(before)


class _Walk:
    """Goes along paths as the kernel does, and notes where another user could not."""

    def __init__(self) -> None:
        self._covered: list[str] = []
        self._shown: dict[str, bool] = {}  # whether it is a folder
        self._links: dict[str, str] = {}

    def visit(self, path: str) -> None:
        """Note what it takes to reach an absolute path.  Raises Closed, OSError."""
        here, rest, followed = "/", _names(path), 0
        status = os.lstat(here)
        while rest:
            name = rest.pop()
            if name == "..":
                here = os.path.dirname(here)
                continue
            hidden = _below(here, self._covered)
            step = os.path.join(here, name)
            status = os.lstat(step)
            if stat.S_ISLNK(status.st_mode):
                followed += 1
                if followed > _MOST_LINKS:
                    raise Closed(f"{path} has too many symbolic links")
                target = os.readlink(step)
                if hidden:
                    self._links[step] = target
                here = "/" if target.startswith("/") else here
                rest += _names(target)
                status = os.lstat(here)
                continue
            here = step
            closed = stat.S_ISDIR(status.st_mode) and not status.st_mode & stat.S_IXOTH
            if rest and closed and not _below(here, self._covered):
                self._covered.append(here)
        if _below(os.path.dirname(here), self._covered):
            self._shown[here] = stat.S_ISDIR(status.st_mode)

    def view(self) -> View:
        """The result.  Raises Closed, OSError."""
        shown: list[str] = []
        for path in sorted(self._shown):
            around = next((one for one in shown if _below(path, [one])), None)
            if around is None:
                shown.append(path)
            else:
                _check_way(around, path)
        links = {
            link: target for link, target in self._links.items() if not _below(link, tuple(shown))
        }
        folders = {path for path in shown if self._shown[path]}
        for path in (*shown, *links):
            folders |= set(self._parents(path))
        return View(
            tuple(self._covered),
            tuple(shown),
            tuple(sorted(folders)),
            tuple(path for path in shown if not self._shown[path]),
            tuple(sorted(links.items())),
        )

    def _parents(self, path: str) -> Iterable[str]:
        """The folders above a path that have to be made in a covered one."""
        while (path := os.path.dirname(path)) not in self._covered:
            yield path


def _names(path: str) -> list[str]:
    """The names of a path, the first one last."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]


def _below(path: str, folders: Iterable[str]) -> bool:
    """Whether a path is one of `folders` or below one."""
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def _check_way(around: str, path: str) -> None:
    """Raise Closed where another user cannot get from a folder that is shown to what is in it."""
    while path != around:
        path = os.path.dirname(path)
        if not os.lstat(path).st_mode & stat.S_IXOTH:
            raise Closed(f"{path} is closed to other users")


def _mount(
    library: ctypes.CDLL, source: str | None, target: str, flags: int, options: str | None = None
) -> None:
    kind = source if source == "tmpfs" else None
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind)]
    data = None if options is None else options.encode()
    _call(library.mount(*words, ctypes.c_ulong(flags), data), f"{target} anew")


def _call(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot have {what} ({os.strerror(number)})")
