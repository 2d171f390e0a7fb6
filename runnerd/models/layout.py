"""Where things are in the store's folder, and the only place that makes paths in it.

    layout.json               the version of this layout; guards against emptying a foreign folder
    index.json                which models there are and their tags
    blobs/sha256/<hex>        files by the digest of their content, read-only
    manifests/sha256/<hex>    OCI manifests by their digest, which is the model's id
    bundles/sha256/<hex>/     a model's blobs under the names that llama.cpp expects, and its
                              description
    tmp/<random>              what is being written
    parts/<hex>.part, .json   what is being fetched, and how far it is
    uploads/<hex>             files that clients sent for a model that is still to be made

What models borrow lies elsewhere (`borrowed`); `content` says where a blob is read.

A path below the root is made from a `Digest` or from a constant, never from text.  Small files are
written to a temporary name, synced, renamed, and the folder synced, so a crash leaves the old or
the new.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

from runnerd import durable
from runnerd.errors import StartupError
from runnerd.models.borrowed import Borrowed
from runnerd.models.digest import Digest
from runnerd.regular import Unusable, check_folder, open_regular, read_json, set_aside

log = logging.getLogger(__name__)

STORE = "the model store"  # what people are told that it is called
VERSION = "1.0.0"

_FOLDER_MODE = 0o750
_GUARD_BYTES = 64 * 2**10
_SPARE_BYTES = 1 * 2**20  # more than an index of ten thousand models


class Layout:
    """Makes the store's folders and every path in them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.index = root / "index.json"
        self.blobs = root / "blobs" / "sha256"
        self.manifests = root / "manifests" / "sha256"
        self.bundles = root / "bundles" / "sha256"
        self.temporary = root / "tmp"
        self._spare = root / "spare"
        self.parts = root / "parts"
        self.uploads = root / "uploads"
        self.borrowed: Borrowed = {}

    def blob(self, digest: Digest) -> Path:
        """Return the place of a blob of the store's own."""
        return self.blobs / digest.hex

    def content(self, digest: Digest) -> Path:
        """Return where a blob is read, and nothing else: it may be somebody's file."""
        borrowed = self.borrowed.get(digest)
        return self.blob(digest) if borrowed is None else Path(borrowed.path)

    def has_intact(self, digest: Digest, size: int, stamp: int | None) -> bool:
        """Say whether a blob, or a borrowed file, is what it was when its content was hashed."""
        borrowed = self.borrowed.get(digest)
        if borrowed is not None:
            return borrowed.size == size and borrowed.is_intact()
        return is_intact(self.blob(digest), size, stamp)

    def manifest(self, id: Digest) -> Path:
        """Return the place of a model's manifest."""
        return self.manifests / id.hex

    def bundle(self, id: Digest) -> Path:
        """Return the folder with a model's files under their usual names."""
        return self.bundles / id.hex

    def part(self, key: Digest) -> Path:
        """Return the place of a file that is being fetched."""
        return self.parts / f"{key.hex}.part"

    def journal(self, key: Digest) -> Path:
        """Return the place of what is known about a file that is being fetched."""
        return self.parts / f"{key.hex}.json"

    def upload(self, digest: Digest) -> Path:
        """Return the place of a file that a client sent."""
        return self.uploads / digest.hex

    def fresh(self) -> Path:
        """Return a name in the folder for temporary files that nobody has."""
        return self.temporary / secrets.token_hex(12)

    def create(self) -> None:
        """Make the folders where they are missing and remove everything that is left in tmp.

        To be called by the store's one process (see `_sweep`), before it writes.  Raises
        errors.StartupError for a folder that belongs to something else or to a newer runnerd.
        """
        try:
            make_folder(self.root)
            self._check_version()
            for folder in (self.blobs, self.manifests):
                make_folder(folder.parent)
                make_folder(folder)
            # What is in these can be made or fetched again: they may be replaced.
            make_folder(self.bundles.parent, replace=True)
            for folder in (self.bundles, self.temporary, self.parts, self.uploads):
                make_folder(folder, replace=True)
        except OSError as error:
            raise StartupError(
                f"the model store {self.root} cannot be used: {error.strerror} ({error.filename})"
            ) from error
        self._sweep()

    def hold_space(self) -> None:
        """Hold back what removing a model takes: it has to work on a full disk of all places."""
        with contextlib.suppress(OSError):
            descriptor = open_regular(self._spare, os.O_WRONLY | os.O_CREAT)
            try:
                os.posix_fallocate(descriptor, 0, _SPARE_BYTES)
            finally:
                os.close(descriptor)

    def try_out(self) -> None:
        """Write something and remove it again, down to the disk.

        Raises errors.InsufficientStorage, StorageFailure.
        """
        path = self.fresh()
        try:
            with durable.storage_errors(STORE):
                durable.write_new(path, b"\n")
                path.unlink()
                for folder in (self.root, self.blobs, self.manifests, self.bundles):
                    durable.sync_folder(folder)
        finally:
            durable.forget(path)

    def free_space(self) -> None:
        """Give the space back that was held."""
        with contextlib.suppress(OSError):
            discard(self._spare)

    def _check_version(self) -> None:
        guard = self.root / "layout.json"
        try:
            document = read_json(guard, dict[str, str], most=_GUARD_BYTES)
        except FileNotFoundError:
            discard(guard.with_suffix(".new"))  # from a crash right here
            if any(self.root.iterdir()):
                raise StartupError(
                    f"{self.root} holds files but no model store; name an empty folder"
                    " (--state-dir)"
                ) from None
            self.write(guard, msgspec.json.encode({"version": VERSION}))
            return
        except Unusable as error:
            raise StartupError(
                f"{guard} is damaged: {error.strerror}; put back what it says"
                f' ({{"version":"{VERSION}"}}) if this is the store'
            ) from error
        found = document.get("version", "")
        if found.partition(".")[0] != VERSION.partition(".")[0]:
            raise StartupError(
                f"{self.root} has layout {found!r}, this one reads {VERSION}: upgrade"
            )

    def _sweep(self) -> None:
        """Remove all temporary files: whoever wrote them is gone.

        The daemon holds the lock of the state directory, and nobody else writes in a store.  So
        nothing is asked of names, times or processes: a number of a process says nothing in
        another container, nor after a restart of the host.
        """
        with _said():
            for path in sorted(self.temporary.iterdir()):
                with _said():
                    discard(path)
                    log.info("removed the unfinished file %s", path.name)

    def write(self, path: Path, content: bytes, *, mode: int = 0o640) -> None:
        """Replace a small file so that a crash leaves the old or the new content.

        Raises as durable.replace.
        """
        temporary = self.fresh() if self.temporary.is_dir() else None
        durable.replace(path, content, what=STORE, temporary=temporary, mode=mode)


def make_folder(path: Path, *, replace: bool = False) -> None:
    """Make a folder where there is none; what else lies there is moved aside if it may be.

    Raises OSError.
    """
    try:
        path.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        check_folder(path)
    except OSError:
        if not replace or not os.path.lexists(path) or path.is_dir():
            raise
        log.warning("%s is no folder and was moved to %s", path, set_aside(path))
        path.mkdir(mode=_FOLDER_MODE)


def discard(path: Path) -> None:
    """Remove a file or a folder tree; that it is gone already is fine."""
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def tidy(path: Path) -> None:
    """Remove what came of work that failed; what cannot be removed is swept at the next start."""
    try:
        discard(path)
    except OSError as error:
        log.warning("%s cannot be removed (%s); the next start tries again", path, error.strerror)


def is_intact(path: Path, size: int, stamp: int | None) -> bool:
    """Say whether a file is as large and as old (`st_mtime_ns`) as when it was stored."""
    try:
        status = path.lstat()
    except OSError:
        return False
    regular = stat.S_ISREG(status.st_mode)
    return regular and status.st_size == size and status.st_mtime_ns == stamp


@contextlib.contextmanager
def _said() -> Iterator[None]:
    """Let what cannot be removed only be said: it is no reason not to serve."""
    try:
        yield
    except OSError as error:
        log.warning(
            "unfinished files of the model store cannot be removed: %s (%s)",
            error.strerror,
            error.filename,
        )
