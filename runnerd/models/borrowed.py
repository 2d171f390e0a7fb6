"""Files that models use and the store does not have: they lie where their owner put them.

A file is borrowed by reference.  Its content was hashed once; afterwards it is known by what the
file system says of it (device, inode, size, time), which is looked at before each use.  It is never
written, renamed, linked or removed.  A file that was moved or changed is not used any more, and
whoever wants its model is told which file it was.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path

from runnerd.models.digest import Digest


@dataclass(frozen=True, slots=True)
class BorrowedFile:
    """One file of somebody's, and what it looked like when it was hashed."""

    path: str
    device: int
    inode: int
    size: int
    modified_ns: int

    @classmethod
    def of(cls, path: Path, status: os.stat_result) -> BorrowedFile:
        """A file by its absolute path and what was seen of it."""
        return cls(str(path), status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)

    def is_intact(self) -> bool:
        """Whether the file is there as it was, and no link to another one."""
        status = self._status()
        return status is not None and BorrowedFile.of(Path(self.path), status) == self

    def remounted(self) -> BorrowedFile | None:
        """The same file on a disk that has another number since the last start, else None.

        Inode, size and time are what they were; devices are numbered as they are found.
        """
        status = self._status()
        if status is None:
            return None
        found = BorrowedFile.of(Path(self.path), status)
        return found if replace(found, device=self.device) == self else None

    def _status(self) -> os.stat_result | None:
        try:
            status = os.lstat(self.path)
        except (OSError, ValueError):
            return None
        return status if stat.S_ISREG(status.st_mode) else None


Borrowed = dict[Digest, BorrowedFile]
"""Replaced as a whole with each change: readers need no lock."""
