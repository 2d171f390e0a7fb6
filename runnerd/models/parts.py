"""A file that is being fetched: on disk from its first byte, and never mistaken for a blob.

A part lies under its key in a folder of its own, locked, with its space claimed.  It is filled in
*pieces*, several at a time.  Its journal says which pieces are on the disk; it is written after
they were synced, so it never claims what a crash could take back, and at most `JOURNAL_BYTES`
behind, so a resumed fetch repeats little.  The digest is computed by one reader that follows the
unbroken front of what has arrived, while the rest is still coming.

    what happens                what becomes of the part
    the connection breaks       kept; the next attempt goes on where it was
    the daemon is killed        kept; the journal says what is there
    the disk is full            kept if it holds anything; its space was claimed with the first byte
    it cannot be resumed        removed: its size is not known, or nothing proves it the same file
    the server's file changed   emptied and begun anew
    the digest is wrong         removed
    the pull is cancelled       kept for a week, or until `runnerd prune`
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import threading
from collections.abc import Callable

import msgspec

from runnerd.durable import storage_errors
from runnerd.errors import InsufficientStorage, SourceFailure, StorageFailure
from runnerd.models.blob_writer import BLOB_MODE, Pending
from runnerd.models.digest import Digest
from runnerd.models.disk_space import allocated_bytes, check_space, reserve
from runnerd.models.layout import STORE, Layout, discard, tidy
from runnerd.models.part_journal import (
    PIECE_BYTES,
    Journal,
    Piece,
    cut_into_pieces,
    read_journal,
)
from runnerd.models.parts_folder import open_locked
from runnerd.models.room import Growth

log = logging.getLogger(__name__)

JOURNAL_BYTES = 12 * 2**20

_UNSIZED = 2**62
_HASH_BYTES = 4 * 2**20  # read back at once


class Part:
    """One file on its way.  Methods that touch the disk block; one caller for each piece.

    `size` and `validator` are what the server says of the file, None and "" until it was asked;
    `received` counts the bytes that are there.  `allow` is asked before a size is taken up.
    """

    def __init__(
        self, layout: Layout, key: Digest, allow: Callable[[int], None] = lambda size: None
    ) -> None:
        self._layout = layout
        self._allow = allow
        self._key = key
        self.path = layout.part(key)
        self.size: int | None = None
        self.validator = ""
        self.pieces: list[Piece] = []
        self._descriptor = -1
        self._claimed = False  # the space of the whole file
        self._growth = Growth(self._admit)
        self._hasher = hashlib.sha256()
        self._hashed = 0
        self._unsynced = 0
        self._first = 0  # the first piece that is not full
        self._unsafe = False  # the disk may have lost what was written
        self._hashing = threading.Lock()  # a restart must not fall into the middle of a hash step
        self.received = 0

    # its life

    def open(self, size: int | None = None) -> None:
        """Open the part, and take up what an earlier attempt left.

        `size` is what the file is known to have.  A journal is a hint: one that cannot be about
        this file is not followed, and nothing is claimed on its word (`resume` does that).

        Raises errors.Conflict when another process has it, InsufficientStorage.
        """
        with storage_errors(STORE):
            self._descriptor = open_locked(self.path)
        try:
            journal = read_journal(self._layout.journal(self._key), self._descriptor, size)
            if journal is None:
                os.ftruncate(self._descriptor, 0)
                return
            check_space(self._layout.root, max(0, journal.size - allocated_bytes(self.path)))
            pieces = cut_into_pieces(journal.size)
            for number, count in journal.filled.items():
                pieces[number].at += count
        except BaseException:
            self.close()
            raise
        self.size, self.validator, self.pieces = journal.size, journal.validator, pieces
        self.received = sum(journal.filled.values())

    def resume(self) -> None:
        """Claim the space of what lacks, once the server has said that the journal is right.

        A second call does nothing.  Raises errors.InsufficientStorage; what is there stays.
        """
        if self._claimed or self.size is None:
            return
        self._allow(self.size)
        check_space(self._layout.root, max(0, self.size - allocated_bytes(self.path)))
        with storage_errors(STORE):
            reserve(self._descriptor, self.size)
        self._claimed = True

    def begin(self, size: int, validator: str) -> None:
        """Take up `size` bytes from the start, with their space claimed.

        What was there is given up.  Raises errors.InsufficientStorage, and leaves nothing then.
        """
        self.restart()
        try:
            self._allow(size)
            check_space(self._layout.root, size)
            with storage_errors(STORE):
                reserve(self._descriptor, size)
        except BaseException:
            self.remove()
            raise
        self.size, self.validator, self.pieces = size, validator, cut_into_pieces(size)
        self._claimed = True

    def begin_stream(self, size: int | None) -> None:
        """Take up a file that comes in one stream from its start, of unknown size if None.

        Raises errors.InsufficientStorage, and leaves nothing then.
        """
        if size is not None:
            self.begin(size, "")
        else:
            self.restart()
        self.pieces = [Piece(0, 0, _UNSIZED if size is None else size, 0)]

    def restart(self) -> None:
        """Forget everything that has arrived."""
        with self._hashing, storage_errors(STORE):
            discard(self._layout.journal(self._key))
            os.ftruncate(self._descriptor, 0)
            self.size, self.validator, self.pieces = None, "", []
            self._hasher, self._hashed = hashlib.sha256(), 0
            self._unsynced = self._first = self.received = 0
            self._growth = Growth(self._admit)
            self._unsafe = self._claimed = False

    def close(self) -> None:
        """Close the file and keep what is there; a second call does nothing.

        The space that was claimed for the rest is given back.
        """
        if self._descriptor >= 0:
            if self.size is not None and not self.complete:
                reach = max(
                    (piece.at for piece in self.pieces if piece.at > piece.start), default=0
                )
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, reach)
            os.close(self._descriptor)
            self._descriptor = -1

    def remove(self) -> None:
        """Remove the part for good; a second call does nothing."""
        tidy(self._layout.journal(self._key))
        tidy(self.path)
        self.close()

    # filling

    @property
    def front(self) -> int:
        """The bytes from the start without a gap."""
        pieces = self.pieces
        while self._first < len(pieces) and not pieces[self._first].left:
            self._first += 1
        return pieces[self._first].at if self._first < len(pieces) else self.size or 0

    @property
    def complete(self) -> bool:
        """Whether every byte is there."""
        return self.size is not None and self.front >= self.size

    def write(self, piece: Piece, data: bytes | bytearray) -> None:
        """Put `data` at the end of what a piece has; `wrote` has to follow.

        Raises errors.InsufficientStorage, SourceFailure for more than the piece takes.
        """
        if len(data) > piece.left:
            raise SourceFailure("the server sent more than was asked for")
        if self.size is None:
            self._growth.reach(piece.at + len(data))
        rest, place = memoryview(data), piece.at
        with storage_errors(STORE):
            while rest:
                written = os.pwrite(self._descriptor, rest, place)
                rest, place = rest[written:], place + written

    def _admit(self, size: int) -> None:
        self._allow(size)
        check_space(self._layout.root, max(0, size - allocated_bytes(self.path)))

    def wrote(self, piece: Piece, count: int) -> None:
        """Count what `write` has put there.  Not from a thread: counters have one writer."""
        piece.at += count
        self.received += count
        self._unsynced += count

    def end_stream(self) -> None:
        """The stream has ended, so now the size is known.  Blocks for a look at the quota."""
        (piece,) = self.pieces
        self._allow(piece.at)
        piece.end = self.size = piece.at

    @property
    def can_resume(self) -> bool:
        """Whether a later attempt could go on from what is there."""
        return self.size is not None and bool(self.validator)

    @property
    def wants_journal(self) -> bool:
        """Whether enough has arrived since the journal was written."""
        return self._unsynced >= JOURNAL_BYTES and bool(self.validator)

    def write_journal(self) -> None:
        """Bring what has arrived to the disk, and then the note that it is there."""
        if self.size is None or not self.validator:
            return
        pieces = self.pieces
        filled = {
            piece.number: piece.at - piece.start for piece in pieces if piece.at > piece.start
        }
        self._unsynced = 0
        if self._unsafe:
            return
        with storage_errors(STORE):
            # Until it has gone well: a second try would succeed, and what was lost stays lost.
            self._unsafe = True
            os.fdatasync(self._descriptor)
            self._unsafe = False
            document = Journal(self.size, self.validator, PIECE_BYTES, filled)
            self._layout.write(self._layout.journal(self._key), msgspec.json.encode(document))

    # the digest

    @property
    def behind(self) -> int:
        """The bytes that have arrived without a gap and are not hashed yet."""
        return self.front - self._hashed

    def hash_on(self) -> None:
        """Hash a few of the bytes that have arrived."""
        with self._hashing, storage_errors(STORE):
            count = max(0, min(self.behind, _HASH_BYTES))
            data = os.pread(self._descriptor, count, self._hashed)
            self._hasher.update(data)
            self._hashed += len(data)

    def finish(self, digest: Digest | None) -> Pending:
        """Bring the complete, hashed file to the disk and return it, ready to become a blob.

        Raises errors.SourceFailure where its content is not that of `digest`; the part is gone
        then.  It is gone as well when the disk fails (StorageFailure): what is cached cannot be
        trusted any more.
        """
        found = Digest(self._hasher.hexdigest())
        if digest is not None and found != digest:
            self.remove()
            raise SourceFailure(
                f"what was sent is not the file: its sha256 is {found.hex}, not {digest.hex};"
                " nothing of it was kept, so try again, or doubt the source"
            )
        assert self.size == self._hashed
        try:
            with storage_errors(STORE):
                os.fchmod(self._descriptor, BLOB_MODE)
                os.fsync(self._descriptor)
        except (StorageFailure, InsufficientStorage):
            self.remove()
            raise
        return Pending(self.path, found, self._hashed)
