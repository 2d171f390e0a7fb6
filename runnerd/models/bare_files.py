"""Files of models for programs that open them themselves, apart from the store's.

What a program gets is a copy of its own inode, made without copying where the file system can
(reflink): whoever may write it, the daemon's own user and root too, does not write the store, and
to remove it removes nothing there.  The copies are read-only and lie in folders with names that
cannot be guessed or listed: the path is what a user was given.  Those that share no blocks with the
store count towards its quota, as models do.

    FOLDER/                         0711: may be passed through, not listed
    FOLDER/<12 digits>-<random>/    a model's weights under the names that llama.cpp expects
    FOLDER/<12 digits>-<random>/.made   what they were like, so that a changed one is made anew
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import secrets
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import BinaryIO

import msgspec

from runnerd.durable import storage_errors
from runnerd.models.digest import Digest
from runnerd.models.disk_space import allocated_bytes, check_space
from runnerd.models.model import Model
from runnerd.regular import read_json
from runnerd.threads import Stop, run_stoppable

log = logging.getLogger(__name__)

_FICLONE = 0x40049409  # <linux/fs.h>: share the extents of another file until either is changed
_PIECE = 16 * 2**20
_UNFINISHED = "new-"
_MADE = ".made"
_MADE_BYTES = 2**20
_BARE = "the copies of bare models"

_Stamp = tuple[int, int, int, int]  # inode, size, times of content and status


class _Made(msgspec.Struct):
    """What the copies of a model were like, and which of them share their blocks with the store."""

    files: dict[str, _Stamp]
    shared: list[str] = []

    @property
    def taken_bytes(self) -> int:
        return sum(stamp[1] for name, stamp in self.files.items() if name not in self.shared)


class BareFiles:
    """Owns the copies.  `weights_of` gives the path of a model's first file in the store, having
    checked that none of them has changed; `check_quota` raises where further bytes are too many.
    """

    def __init__(
        self, folder: Path, weights_of: Callable[[str], Path], check_quota: Callable[[int], None]
    ) -> None:
        self.folder = folder
        self._weights_of = weights_of
        self._check_quota = check_quota
        self._making: dict[Digest, asyncio.Lock] = {}

    async def path_of(self, model: Model) -> Path:
        """The path of a copy of a model's weights, of the first file where there are several.

        Raises errors.InsufficientStorage, StorageFailure, and as `Store.resolve` does.
        """
        lock = self._making.setdefault(model.id, asyncio.Lock())
        async with lock:
            return await run_stoppable(lambda stop: self._copy(model, stop))

    def taken_bytes(self) -> int:
        """The bytes that all copies take, without what they share with the store.  Blocks."""
        taken = 0
        for path in self.folder.glob("*-*"):
            if path.name.startswith(_UNFINISHED):
                taken += sum(map(allocated_bytes, path.glob("*.gguf")))
            elif (made := _made(path)) is not None:
                taken += made.taken_bytes
        return taken

    def open(self, models: Collection[Digest]) -> None:
        """Remove what an earlier daemon has left unfinished, and then `sweep`.  Blocks."""
        with contextlib.suppress(OSError):
            for path in self.folder.glob(f"{_UNFINISHED}*"):
                shutil.rmtree(path, ignore_errors=True)
        self.sweep(models)

    def sweep(self, models: Collection[Digest]) -> None:
        """Remove the copies of other models than these.  Blocks."""
        kept = {id.hex[:12] for id in models} | {_UNFINISHED.rstrip("-")}
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir():
                if path.name.partition("-")[0] not in kept:
                    with contextlib.suppress(OSError):
                        _remove(path)

    def _copy(self, model: Model, stop: Stop) -> Path:
        first = self._weights_of(str(model.id))
        names = _shards(first, len(model.manifest.weights))
        with storage_errors(_BARE):
            self.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
            self.folder.chmod(0o711)  # whatever the umask
            for there in self.folder.glob(f"{model.id.hex[:12]}-*"):
                if _is_intact(there, names):
                    return there / names[0]
                _remove(there)
            unfinished = self.folder / f"{_UNFINISHED}{secrets.token_hex(16)}"
            unfinished.mkdir(mode=0o700)
            try:
                shared = [
                    name
                    for name in names
                    if self._copy_file(first.with_name(name), unfinished / name, stop)
                ]
                stamps = {name: _stamp(unfinished / name) for name in names}
                (unfinished / _MADE).write_bytes(msgspec.json.encode(_Made(stamps, shared)))
                unfinished.chmod(0o711)
                made = self.folder / f"{model.id.hex[:12]}-{secrets.token_hex(16)}"
                unfinished.rename(made)
            except BaseException:
                shutil.rmtree(unfinished, ignore_errors=True)
                raise
        return made / names[0]

    def _copy_file(self, source: Path, target: Path, stop: Stop) -> bool:
        """Copy a file; whether the copy shares its blocks."""
        with open(source, "rb") as old, open(target, "xb") as new:
            shares = _clone(old, new)
            if not shares:
                size = os.fstat(old.fileno()).st_size
                self._check_quota(size)
                check_space(target.parent, size)
                while data := old.read(_PIECE):
                    stop.check()
                    new.write(data)
            os.fchmod(new.fileno(), 0o444)
        return shares


def _clone(old: BinaryIO, new: BinaryIO) -> bool:
    """Let a file share the blocks of another one; whether the file system can."""
    try:
        fcntl.ioctl(new, _FICLONE, old.fileno())
    except OSError as error:
        if error.errno not in _CANNOT_CLONE:
            raise
        return False
    return True


def _shards(first: Path, count: int) -> list[str]:
    if count == 1:
        return [first.name]
    prefix = first.name.partition("-00001-of-")[0]
    return [f"{prefix}-{number:05}-of-{count:05}.gguf" for number in range(1, count + 1)]


_CANNOT_CLONE = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS)


def _stamp(path: Path) -> _Stamp:
    found = os.lstat(path)
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _is_intact(folder: Path, names: list[str]) -> bool:
    """Whether nobody has changed the copies since they were made."""
    if folder.is_symlink():
        return False
    made = _made(folder)
    try:
        return made is not None and made.files == {name: _stamp(folder / name) for name in names}
    except OSError:
        return False


def _made(folder: Path) -> _Made | None:
    try:
        return read_json(folder / _MADE, _Made, most=_MADE_BYTES)
    except OSError:
        return None


def _remove(path: Path) -> None:
    """Remove a folder of copies, or what is in its place; never what that links to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
