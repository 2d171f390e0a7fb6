"""Small files that are either the old or the new ones, whatever happens meanwhile.

A file is written under a temporary name, synced, renamed, and its folder synced.  The rename is the
*commit point*: before it a failure leaves the old file, after it the new one is there, and nothing
is taken back.  Whoever keeps such a file in memory as well has three outcomes to tell apart:

    errors.StorageFailure, InsufficientStorage   the old one is in force
    errors.Unconfirmed (a StorageFailure)        the new one is in force; a power cut may undo it
    errors.Undetermined (a StorageFailure)       nobody can tell: read again before changing more

That a disk is full, broken or read-only is a condition of the host and not a fault of the daemon,
so each way in which it says so has a sentence for people.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from runnerd import regular
from runnerd.errors import (
    InsufficientStorage,
    RunnerdError,
    StorageFailure,
    Unconfirmed,
    Undetermined,
)

log = logging.getLogger(__name__)

STATE = "the daemon's state"

_SENTENCES = {
    errno.EDQUOT: "the quota of the daemon's user on the disk with {what} is used up; remove models"
    " with `runnerd rm` or raise the quota",
    errno.EFBIG: "{what} would need a larger file than the file system or the daemon's limit allows"
    " (`ulimit -f`, LimitFSIZE=)",
    errno.EIO: "the disk with {what} failed (input/output error); see the kernel's log (`dmesg`)"
    " and save what is on it",
    errno.EROFS: "the file system with {what} is read-only; the kernel makes it so when a disk"
    " fails (`dmesg`); mount it for writing again",
    errno.EPERM: "{what} may not be changed: operation not permitted; a file or folder of it is"
    " immutable (`lsattr` shows it, `chattr -i` ends it)",
    errno.EACCES: "{what} may not be changed: permission denied; it has to belong to the daemon's"
    " user",
    errno.ENOENT: "a folder of {what} is gone; restart the daemon, which makes it again",
    errno.EMFILE: "the daemon has too many files open to change {what}; try again in a moment",
    errno.ENFILE: "the host has too many files open to change {what}; try again in a moment",
}
_OF_A_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
_FULL = (
    "the disk with {what} is full; remove models with `runnerd rm` or free some space",
    "the disk with {what} has no inodes left: it holds as many files as it can; remove some files",
)


def replace(
    path: Path,
    content: bytes,
    *,
    what: str = STATE,
    temporary: Path | None = None,
    mode: int = 0o640,
) -> None:
    """Replace a file; `temporary` is a free name on the same disk, beside it where none is given.

    `what` is what people call the file.  Raises as the module says.
    """
    if temporary is None:
        temporary = path.with_name(path.name + ".new")
        forget(temporary)
    try:
        with storage_errors(what):
            write_new(temporary, content, mode=mode)
    except BaseException:
        forget(temporary)
        raise
    failure = _commit(temporary, path, content, what)
    if failure is not None:
        error = storage_error(failure, what)
        raise Unconfirmed(
            f"the change was made, but the disk did not confirm it: a power cut may undo it."
            f" {_capital(error.message)}"
        ) from failure


def _commit(temporary: Path, path: Path, content: bytes, what: str) -> OSError | None:
    """Let the new file be the one; return what kept the disk from confirming it."""
    try:
        os.rename(temporary, path)
    except OSError as error:
        # It may have happened all the same: only looking tells.
        forget(temporary)
        try:
            found: bytes | None = regular.read(path, most=len(content))
        except FileNotFoundError:
            found = None
        except regular.Unusable:
            found = None
        except OSError as unread:
            told = storage_error(unread, what)
            raise Undetermined(
                f"nobody can tell whether the change was made; nothing more is changed before that"
                f" is known. {_capital(told.message)}"
            ) from error
        if found != content:
            raise storage_error(error, what) from error
        return error
    try:
        sync_folder(path.parent)
    except OSError as error:
        return error
    return None


def write_new(path: Path, content: bytes, *, mode: int = 0o640) -> None:
    """Write a file that did not exist, down to the disk.  Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with open(descriptor, "wb", buffering=0) as file:
        rest = memoryview(content)
        while rest:
            rest = rest[file.write(rest) or 0 :]
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable.  Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def forget(path: Path) -> None:
    """Remove a temporary file; what cannot be removed is swept later."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def storage_errors(what: str = STATE) -> Iterator[None]:
    """Turn what a disk says when it is written to into an error for people.

    Raises errors.InsufficientStorage, StorageFailure.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:  # a time-out, for one, which is no disk's
            raise
        raise storage_error(error, what) from error


@contextlib.contextmanager
def disk_errors(what: str = STATE) -> Iterator[None]:
    """As `storage_errors`, around code that does more than write: of errors that only disks have.

    For the outermost places, so that no such error is met as a mistake of the daemon's.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _OF_A_DISK:
            raise
        raise storage_error(error, what) from error


def storage_error(error: OSError, what: str = STATE) -> RunnerdError:
    """What people are told of a write that failed; the log has the file's name."""
    log.error("%s cannot be written: %s (%s)", what, error.strerror, error.filename or "-")
    if error.errno == errno.ENOSPC:
        return InsufficientStorage(_FULL[_lacks_inodes(error)].format(what=what))
    sentence = _SENTENCES.get(error.errno or 0)
    if sentence is None:
        return StorageFailure(f"{what} cannot be changed: {error.strerror}")
    told = sentence.format(what=what)
    return InsufficientStorage(told) if error.errno == errno.EDQUOT else StorageFailure(told)


def _lacks_inodes(error: OSError) -> bool:
    if not isinstance(error.filename, str | bytes | os.PathLike):
        return False
    try:
        status = os.statvfs(os.path.dirname(os.fsdecode(error.filename)) or ".")
    except OSError:
        return False
    return status.f_favail == 0 < status.f_files


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
