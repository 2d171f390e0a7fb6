"""The GGUF files of an owner's folders, looked at without following a link or opening a device."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from runnerd.models.borrowed import BorrowedFile

MOST_ENTRIES = 100_000
_DEPTH = 8


class UnsafeFolder(Exception):
    """A folder that is not looked through; the message says why."""


def files_below(folder: Path) -> dict[str, BorrowedFile]:
    """Every GGUF file in a folder and those below it, by its path.

    Links, pipes, sockets and devices are passed over.  Raises UnsafeFolder, OSError.
    """
    check_folder(folder)
    found: dict[str, BorrowedFile] = {}
    for count, entry in enumerate(_entries(folder, _DEPTH)):
        if count >= MOST_ENTRIES:
            raise UnsafeFolder(
                f"{folder} has more than {MOST_ENTRIES} entries; name a folder with fewer"
            )
        if not entry.name.lower().endswith(".gguf"):
            continue
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            found[entry.path] = BorrowedFile.of(Path(entry.path), status)
    return found


def check_folder(folder: Path) -> None:
    """Raise UnsafeFolder for one that is none, or that everybody on the host can write to."""
    if not folder.is_absolute():
        raise UnsafeFolder(f"{folder} is no absolute path")
    status = os.lstat(folder)
    if not stat.S_ISDIR(status.st_mode):
        raise UnsafeFolder(f"{folder} is no folder (links are not followed)")
    if status.st_mode & stat.S_IWOTH:
        raise UnsafeFolder(
            f"everybody on this host can put files into {folder}: chmod o-w {folder}"
        )


def _entries(folder: Path, depth: int) -> Iterator[os.DirEntry[str]]:
    """All entries, folder by folder; what cannot be read is passed over below the first."""
    below: Sequence[str] = [str(folder)]
    for level in range(depth):
        further = []
        for path in below:
            try:
                entries = sorted(os.scandir(path), key=lambda entry: entry.name)
            except OSError:
                if level == 0:
                    raise
                continue
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    further.append(entry.path)
                yield entry
        below = further
