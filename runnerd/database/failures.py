"""What SQLite says when something fails, in words for people and with a status for clients.

| SQLite says | that is | told as |
|---|---|---|
| FULL | the disk is full | InsufficientStorage (507) |
| IOERR | a quota, a limit on files, a broken disk | the same or StorageFailure (507) |
| READONLY, CANTOPEN, PERM, AUTH | rights, a read-only file system | StorageFailure (507) |
| BUSY, LOCKED | another program holds the file | DatabaseLocked (503), to be tried again |
| CORRUPT, NOTADB | the file is damaged | DatabaseFailure (503) |
"""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
from pathlib import Path

from runnerd.durable import storage_error
from runnerd.errors import DatabaseFailure, DatabaseLocked, RunnerdError

WHAT = "the database"
LOCKED_SECONDS = 2  # how long another program may hold the file before a change is refused

Connection = sqlite3.Connection
Duplicate = sqlite3.IntegrityError
"""A row that breaks a rule of the schema: work that can meet it translates it."""

_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_DENIED = (
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_AUTH,
)


def explained(error: sqlite3.Error, path: Path) -> RunnerdError:
    """What to tell of an error on the database at `path`; other errors than those above are bugs
    and raised again.
    """
    code = _code(error)
    if code in _BUSY:
        return locked()
    if code in _DAMAGED:
        return damaged(str(error))
    if code in _DENIED:
        return storage_error(OSError(_denied(path), f"{error}", str(path)), WHAT)
    if code == sqlite3.SQLITE_FULL:
        return storage_error(OSError(errno.ENOSPC, f"{error}", str(path)), WHAT)
    if code == sqlite3.SQLITE_IOERR:
        return storage_error(OSError(_io_error(path), f"{error}", str(path)), WHAT)
    raise error


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error says that the file is damaged."""
    return _code(error) in _DAMAGED


def is_busy(error: sqlite3.Error) -> bool:
    """Whether an error says that another program holds the file."""
    return _code(error) in _BUSY


def _code(error: sqlite3.Error) -> int:
    """SQLite's code of an error, without its details."""
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF


def locked() -> DatabaseLocked:
    """Another program holds the file."""
    return DatabaseLocked(
        "the database is locked by another program, which has runnerd.db open for writing"
        " (`fuser -v` names it); try again when it has ended",
        retry_after=5,
    )


def damaged(detail: str) -> DatabaseFailure:
    """The file is not what was written; nothing is done with it before its owner has decided."""
    return DatabaseFailure(
        f"the database runnerd.db is damaged ({' '.join(detail.split())[:200]}); models are served"
        " on; restore a backup with `runnerd restore FILE`, or move it out of the state directory"
        " and restart to begin without users"
    )


def removed() -> DatabaseFailure:
    """The file that was opened is not there any more."""
    return DatabaseFailure(
        "the database runnerd.db was removed while the daemon ran; keys count on and models are"
        " served on; put it back or restore a backup with `runnerd restore FILE`, or restart to"
        " begin without users"
    )


def _denied(path: Path) -> int:
    try:
        if os.statvfs(path.parent).f_flag & os.ST_RDONLY:
            return errno.EROFS
    except OSError as error:
        return error.errno or errno.EACCES
    return errno.EACCES


def _io_error(path: Path) -> int:
    """Which error it was, of those that SQLite does not tell apart: found by trying."""
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if most != resource.RLIM_INFINITY:
        for file in (path, path.with_name(path.name + "-wal")):
            if file.exists() and file.stat().st_size + 2**16 > most:
                return errno.EFBIG
    try:
        try_disk(path, 4096)
    except OSError as error:
        return error.errno or errno.EIO
    return errno.EIO


def try_disk(path: Path, size: int) -> None:
    """Write so many bytes beside the database, down to the disk; remove them.  Raises OSError."""
    probe = path.with_name(path.name + ".probe")
    try:
        with open(probe, "wb") as written:
            written.write(bytes(size))
            written.flush()
            os.fsync(written.fileno())
    finally:
        probe.unlink(missing_ok=True)
