"""Takes content into the store: hashed as it is written, complete and synced before it has a name.

An intake collects the blobs of one model in temporary files.  Nothing is visible until the store
commits it, and closing an intake that was not committed removes every trace.  A file that somebody
names stays theirs: it is read and nothing else, not its mode, owner, links, times or content
changes, and what they do with it later changes nothing here.  So there are two ways in:

- a *clone* (copy on write), where the file system can: both share the space, neither sees the
  other's changes;
- a *copy*, else.

The digest is always computed from what is stored, after it is there.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Callable, Collection, Iterator, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from runnerd.durable import storage_errors, sync_folder
from runnerd.errors import InvalidModelFile
from runnerd.models.blob_writer import BLOB_MODE, BlobWriter, Pending
from runnerd.models.borrowed import BorrowedFile
from runnerd.models.digest import Digest
from runnerd.models.disk_space import check_space
from runnerd.models.intake_cost import Cost
from runnerd.models.layout import STORE, Layout, tidy
from runnerd.models.sources import Source
from runnerd.regular import open_regular
from runnerd.threads import Stop

_CHUNK_BYTES = 4 * 2**20
_FICLONE = 0x40049409  # linux/fs.h
_REPORT_INTERVAL = 0.1  # seconds


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a transfer is, in bytes: all of it, and the file (`layer`) that is on its way.

    `message` is news for people that no number says; such an event may have no file.  `name` is
    the file's where `layer` is a digest.
    """

    total: int
    layer: str
    layer_size: int
    layer_current: int
    message: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file of a model that came from elsewhere, verified; `name` is for messages."""

    name: str
    media_type: str
    pending: Pending


class Intake:
    """The temporary files of one model on its way in.  Used in one thread at a time.

    `allow` is asked before bytes are written, with how many there will be and in which files; it
    raises if they are too many.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        total: int,
        report: Callable[[Progress], None] | None = None,
        stop: Stop | None = None,
        allow: Callable[[int, Collection[Path]], None] = lambda size, own: None,
    ) -> None:
        self._layout = layout
        self._allow = allow
        self._total = total
        self._report = report
        self._reported_at = 0.0
        self._stop = stop or Stop()
        self._temporary: list[Path] = []
        self.blobs: dict[Digest, Pending] = {}
        self.cost = Cost()
        self._cloned: dict[Digest, bool] = {}  # of the files that somebody has named

    def __enter__(self) -> Intake:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove what was not committed."""
        while self._temporary:
            tidy(self._temporary.pop())

    def add_bytes(self, content: bytes) -> Pending:
        """Take in a small blob."""
        writer = self.writer("", len(content))
        writer.write(content)
        return self.finish(writer)

    def add_file(self, source: Source) -> Pending:
        """Take in a file, and note what that has cost.

        Raises errors.InsufficientStorage, StorageFailure, InvalidModelFile where it changes
        meanwhile, worker.Stopped.
        """
        temporary = self._fresh()
        cloned = self._clone(source, temporary)
        pending = self._hash(source, temporary) if cloned else self._copy(source)
        self.blobs[pending.digest] = pending
        self._cloned[pending.digest] = cloned
        return pending

    def borrow_file(self, source: Source) -> Pending:
        """Hash a file where it is, and take a reference to it.

        Raises errors.InvalidModelFile where it changes meanwhile, worker.Stopped.
        """
        before = os.fstat(source.descriptor)
        hasher = hashlib.sha256()
        for chunk in self._chunks(source.name, source.descriptor, source.size):
            hasher.update(chunk)
        borrowed = BorrowedFile.of(source.path, before)
        if not borrowed.is_intact():
            raise _changed(source.name)
        pending = Pending(source.path, Digest(hasher.hexdigest()), source.size, borrowed)
        self.blobs[pending.digest] = pending
        self._cloned[pending.digest] = False
        return pending

    def writer(self, name: str, size: int) -> BlobWriter:
        """Begin a blob of `size` bytes that comes in pieces.  Raises errors.InsufficientStorage."""
        self.check_space(size)
        self._allow(size + sum(blob.size for blob in self.blobs.values()), self._temporary)
        return BlobWriter(self._fresh(), name, size)

    def finish(self, writer: BlobWriter) -> Pending:
        """End a blob that `writer` wrote: sync it and take it into the intake."""
        pending = writer.finish()
        self.blobs[pending.digest] = pending
        return pending

    def keep_only(self, digests: Collection[Digest]) -> None:
        """Forget the other blobs; `close` removes their files."""
        self.blobs = {digest: self.blobs[digest] for digest in digests}

    def check_space(self, size: int) -> None:
        """Raise errors.InsufficientStorage where `size` further bytes would fill the disk."""
        check_space(self._layout.root, size)

    def progressed(self, layer: str, size: int, current: int) -> None:
        """Report progress, at most every tenth of a second and at a file's end."""
        now = time.monotonic()
        if self._report and (current >= size or now - self._reported_at >= _REPORT_INTERVAL):
            self._reported_at = now
            self._report(Progress(self._total, layer, size, current))

    def publish(self, stamps: MutableMapping[Digest, int]) -> None:
        """Give the blobs their names, and note the modification time (ns) of each in `stamps`.

        What is there already and unchanged stays, because engines may have it open.  Only the store
        calls this, under its lock and before it names the blobs in its index.  Raises OSError.
        """
        for pending in self.blobs.values():
            self._publish(pending, stamps)
        sync_folder(self._layout.blobs)

    def _publish(self, pending: Pending, stamps: MutableMapping[Digest, int]) -> None:
        layout, digest = self._layout, pending.digest
        here = layout.has_intact(digest, pending.size, stamps.get(digest))
        if digest in self._cloned:
            cloned, borrowed = self._cloned[digest], pending.borrowed is not None
            self.cost.count(pending.size, here=here, cloned=cloned, borrowed=borrowed)
        if here:
            return
        if pending.borrowed is not None:
            if not pending.borrowed.is_intact():
                raise _changed(pending.temporary.name)
            layout.borrowed = {**layout.borrowed, digest: pending.borrowed}
            return
        final = layout.blob(digest)
        _protect(pending.temporary)
        os.rename(pending.temporary, final)
        layout.borrowed = {key: file for key, file in layout.borrowed.items() if key != digest}
        stamps[digest] = final.lstat().st_mtime_ns

    # ways in

    def _fresh(self) -> Path:
        path = self._layout.fresh()
        self._temporary.append(path)
        return path

    def _clone(self, source: Source, temporary: Path) -> bool:
        with storage_errors(STORE):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            descriptor = os.open(temporary, flags, 0o640)
        try:
            fcntl.ioctl(descriptor, _FICLONE, source.descriptor)
            os.fchmod(descriptor, BLOB_MODE)
            os.fsync(descriptor)
        except OSError:  # another file system, or one that cannot
            tidy(temporary)
            return False
        finally:
            os.close(descriptor)
        return True

    def _hash(self, source: Source, temporary: Path) -> Pending:
        descriptor = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)
        try:
            before = os.fstat(descriptor)
            hasher = hashlib.sha256()
            for chunk in self._chunks(source.name, descriptor, before.st_size):
                hasher.update(chunk)
            after = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise _changed(source.name)
        return Pending(temporary, Digest(hasher.hexdigest()), after.st_size)

    def _copy(self, source: Source) -> Pending:
        writer = self.writer(source.name, source.size)
        with contextlib.closing(writer):
            for chunk in self._chunks(source.name, source.descriptor, source.size):
                writer.write(chunk)
            return self.finish(writer)

    def _chunks(self, name: str, descriptor: int, size: int) -> Iterator[bytes]:
        """Yield `size` bytes of an open file, reporting and heeding the stop between them."""
        place = 0
        while place < size:
            self._stop.check()
            try:
                chunk = os.pread(descriptor, min(_CHUNK_BYTES, size - place), place)
            except OSError as error:
                raise InvalidModelFile(f"{name} cannot be read: {error.strerror}") from error
            if not chunk:
                raise _changed(name)
            yield chunk
            place += len(chunk)
            self.progressed(name, size, place)


def _protect(path: Path) -> None:
    """Take the write permission off a file of ours; mostly it is off already."""
    descriptor = open_regular(path)
    try:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) != BLOB_MODE:
            os.fchmod(descriptor, BLOB_MODE)
    finally:
        os.close(descriptor)


def _changed(name: str) -> InvalidModelFile:
    return InvalidModelFile(f"{name} changed while it was imported; wait until it is complete")
