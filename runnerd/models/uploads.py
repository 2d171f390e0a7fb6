"""Files that clients send ahead of the model that will be made of them.

An upload is hashed as it is written and gets its name, its digest, when it is whole and synced.
What no model takes up within a day goes.  Uploads count for the quota as the models do.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from runnerd.durable import storage_errors, sync_folder
from runnerd.errors import ClientError
from runnerd.models.blob_writer import BLOB_MODE, Pending
from runnerd.models.digest import Digest
from runnerd.models.disk_space import size_of
from runnerd.models.layout import STORE, Layout, discard, tidy
from runnerd.models.room import Growth

log = logging.getLogger(__name__)

AGE = 86400.0
"""Seconds that an upload waits for its model."""


class Uploads:
    """The uploads that are there.  Methods block.

    `allow` is asked before bytes are written, with how many there will be and where; it raises if
    they are too many.
    `claimed` tells which ones somebody is using.
    """

    def __init__(
        self,
        layout: Layout,
        allow: Callable[[int, Path], None],
        claimed: Callable[[], Collection[Digest]],
    ) -> None:
        self._layout = layout
        self._allow = allow
        self._claimed = claimed

    def find(self, digest: Digest) -> Pending | None:
        """Return an upload that is whole."""
        path = self._layout.upload(digest)
        try:
            status = path.lstat()
        except FileNotFoundError:
            return None
        return Pending(path, digest, status.st_size) if stat.S_ISREG(status.st_mode) else None

    def begin(self) -> Upload:
        """Begin an upload of unknown size; what nobody took up in time makes room for it."""
        self.sweep(age=AGE)
        return Upload(self._layout, self._allow)

    def keep(self, content: bytes) -> Pending:
        """Take in a small file at once.  Raises errors.InsufficientStorage."""
        digest = Digest.of(content)
        if (found := self.find(digest)) is not None:
            return found
        upload = self.begin()
        try:
            upload.write(content)
            return upload.finish(digest)
        finally:
            upload.close()

    def bytes(self) -> int:
        """The bytes that all uploads have together."""
        return sum(map(size_of, os.scandir(self._layout.uploads)))

    def sweep(self, *, age: float) -> int:
        """Remove those that are not used and older than `age` seconds, or as far in the future.

        Returns their bytes.
        """
        freed = 0
        for path, size in list(self._old(age)):
            discard(path)
            freed += size
        return freed

    def old_bytes(self, *, age: float) -> int:
        """The bytes that `sweep` would make free."""
        return sum(size for _, size in self._old(age))

    def _old(self, age: float) -> Iterator[tuple[Path, int]]:
        names = {digest.hex for digest in self._claimed()}
        for entry in os.scandir(self._layout.uploads):
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if entry.name not in names and abs(time.time() - status.st_mtime) >= age:
                yield Path(entry.path), status.st_size


class Upload:
    """One file on its way; closing it without `finish` leaves no trace."""

    def __init__(self, layout: Layout, allow: Callable[[int, Path], None]) -> None:
        self._layout = layout
        self._path = path = layout.fresh()
        self._growth = Growth(lambda size: allow(size, path))
        self._hasher = hashlib.sha256()
        self._written = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with storage_errors(STORE):
            self._descriptor = os.open(self._path, flags, 0o640)

    def write(self, chunk: bytes) -> None:
        """Append a piece.  Raises errors.InsufficientStorage."""
        self._growth.reach(self._written + len(chunk))
        self._hasher.update(chunk)
        rest = memoryview(chunk)
        with storage_errors(STORE):
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        self._written += len(chunk)

    def finish(self, digest: Digest) -> Pending:
        """Bring the file to the disk under its digest.

        Raises errors.ClientError for another content, InsufficientStorage.
        """
        found = Digest(self._hasher.hexdigest())
        if found != digest:
            raise ClientError(
                f"what was sent is not {digest}: its digest is {found}; send it again",
                param="digest",
            )
        with storage_errors(STORE):
            os.fchmod(self._descriptor, BLOB_MODE)
            os.fsync(self._descriptor)
            final = self._layout.upload(digest)
            os.rename(self._path, final)
            sync_folder(self._layout.uploads)
        return Pending(final, digest, self._written)

    def close(self) -> None:
        """Close the file and remove what has no name yet; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            tidy(self._path)
