"""Writes a blob that comes in pieces to a temporary file, hashed on the way and synced at its end.

It has no name yet when it is complete: the store gives it one when it takes the model in.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from runnerd.durable import storage_errors
from runnerd.errors import InvalidModelFile
from runnerd.models.borrowed import BorrowedFile
from runnerd.models.digest import Digest
from runnerd.models.disk_space import reserve
from runnerd.models.layout import STORE

BLOB_MODE = 0o440


@dataclass(frozen=True, slots=True)
class Pending:
    """A blob that is complete but has no name yet.

    One that is `borrowed` stays where it is: `temporary` is read then, and never renamed.
    """

    temporary: Path
    digest: Digest
    size: int
    borrowed: BorrowedFile | None = None


@dataclass(slots=True)
class BlobWriter:
    """Writes one blob of `size` bytes to `temporary`, hashing it on the way."""

    temporary: Path
    name: str
    size: int
    written: int = 0
    _hasher: hashlib._Hash = field(default_factory=hashlib.sha256)
    _descriptor: int = -1

    def __post_init__(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with storage_errors(STORE):
            self._descriptor = os.open(self.temporary, flags, 0o640)
        try:
            with storage_errors(STORE):
                reserve(self._descriptor, self.size)
        except BaseException:
            self.close()
            raise

    def write(self, chunk: bytes | memoryview) -> None:
        """Append a piece.  Raises errors.InvalidModelFile for too much, InsufficientStorage."""
        self.written += len(chunk)
        if self.written > self.size:
            raise InvalidModelFile(f"{self.name} has more bytes than the {self.size} announced")
        self._hasher.update(chunk)
        rest = memoryview(chunk)
        with storage_errors(STORE):
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]

    def finish(self) -> Pending:
        """Bring the blob to the disk.  Raises errors.InvalidModelFile when bytes lack."""
        if self.written != self.size:
            raise InvalidModelFile(f"{self.name} ended after {self.written} of {self.size} bytes")
        with storage_errors(STORE):
            os.fchmod(self._descriptor, BLOB_MODE)
            os.fsync(self._descriptor)
        self.close()
        return Pending(self.temporary, Digest(self._hasher.hexdigest()), self.size)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
