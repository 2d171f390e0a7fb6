"""How the file is opened, made, looked at and copied.

A new database is made under another name and renamed once it is whole, so that an empty file in its
place is damage and never mistaken for a new one.  Everything here blocks.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from runnerd import regular
from runnerd.database import failures, migrations
from runnerd.durable import storage_error, sync_folder
from runnerd.errors import ClientError

log = logging.getLogger(__name__)

_BESIDE = ("-wal", "-shm", "-journal")  # what SQLite keeps beside a file
_PAGE = 4096
_CACHE_KIB = 4096
_HEADER = b"SQLite format 3\0"
_MOST_COPIED = 2**30  # bytes of a database that cannot be written


def open_for_writing(path: Path) -> sqlite3.Connection:
    """The connection that alone writes, to a database that is up to date.

    One that is not there is made.  Raises errors.DatabaseFailure, StorageFailure,
    InsufficientStorage; StartupError for one that this runnerd must not touch.
    """
    with failure_explained(path):
        _check_kinds(path)
        if not os.path.lexists(path):
            _make(path)
        elif not path.stat().st_size:
            raise failures.damaged("the file is empty")
        _close_to_others(path)
        connection = _connect(path, "rw")
        try:
            _look_at(connection)
            migrations.migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def identity(path: Path) -> tuple[int, int] | None:
    """Which file lies at `path`, to tell it from another one that takes its place; None: none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def open_for_reading(path: Path) -> sqlite3.Connection:
    """A connection that cannot write; the one that writes has to be open.  Raises sqlite3.Error."""
    connection = _connect(path, "ro")
    connection.execute("PRAGMA query_only = 1")
    return connection


@contextlib.contextmanager
def copy_for_reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a copy, for a database that cannot be written, whatever the reason.

    SQLite cannot read one whose log it may not touch.  Raises OSError, also for a file that is no
    database or very large, and sqlite3.Error.
    """
    with tempfile.TemporaryDirectory(prefix="runnerd-") as folder:
        copy = Path(folder) / path.name
        for file in (path, path.with_name(path.name + "-wal")):
            with contextlib.suppress(FileNotFoundError):
                _copy(file, copy.with_name(file.name), header=_HEADER if file == path else b"")
        connection = _connect(copy, "rw")
        try:
            yield connection
        finally:
            connection.close()


def _copy(file: Path, target: Path, *, header: bytes) -> None:
    with open(regular.open_regular(file), "rb") as source:
        if os.fstat(source.fileno()).st_size > _MOST_COPIED:
            raise regular.Unusable(file, "it is too large to be copied")
        if source.read(len(header)) != header:
            raise regular.Unusable(file, "it is no database")
        source.seek(0)
        with open(target, "wb") as written:
            shutil.copyfileobj(source, written)


@contextlib.contextmanager
def failure_explained(path: Path) -> Iterator[None]:
    """Turn errors of SQLite and the disk into errors for people."""
    try:
        yield
    except sqlite3.Error as error:
        raise failures.explained(error, path) from error
    except regular.Unusable as error:
        raise failures.damaged(f"{Path(error.filename).name}: {error.strerror}") from error
    except OSError as error:
        raise storage_error(error, failures.WHAT) from error


def is_sound(connection: sqlite3.Connection, table: str | None = None) -> str | None:
    """None for a database, or a table of it, without damage; else what is damaged."""
    try:
        check = "quick_check" if table is None else f"integrity_check({table})"
        found = connection.execute(f"PRAGMA {check}").fetchone()[0]
    except sqlite3.DatabaseError as error:
        if not failures.is_damage(error):
            raise
        return str(error)
    return None if found == "ok" else str(found)


def backup(source: sqlite3.Connection, target: Path) -> None:
    """Write a whole copy of a database to a file that is not there yet."""
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    with contextlib.closing(sqlite3.connect(target, isolation_level=None)) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
    with open(target, "rb") as file:
        os.fsync(file.fileno())


def open_backup(path: Path) -> sqlite3.Connection:
    """A connection to a file that somebody says is a backup, brought up to date.

    Raises errors.ClientError; StartupError as `migrate` does.
    """
    try:
        connection = _connect(path, "rw", journal="DELETE")  # which reads it: it can be anything
        try:
            _make_ready(connection)
        except BaseException:
            connection.close()
            raise
    except sqlite3.DatabaseError as error:
        raise ClientError(f"it is not a backup of runnerd: {error}") from error
    return connection


def _make_ready(backup: sqlite3.Connection) -> None:
    if (problem := is_sound(backup)) is not None:
        raise ClientError(f"the backup is damaged: {problem}")
    migrations.check_version(backup)
    if migrations.version_of(backup) == 0:
        raise ClientError("the backup is empty")
    page = int(backup.execute("PRAGMA page_size").fetchone()[0])
    if page != _PAGE:
        raise ClientError("it is not a backup that runnerd has made")
    migrations.migrate(backup)


def set_aside(path: Path) -> None:
    """Move a database and what belongs to it out of the way."""
    aside = regular.set_aside(path)
    for ending in _BESIDE:
        beside = path.with_name(path.name + ending)
        if os.path.lexists(beside):
            os.rename(beside, aside.with_name(aside.name + ending))


def put_in_place(new: Path, path: Path) -> None:
    """Let a whole database be the one at `path`, where there is none."""
    for ending in _BESIDE:
        path.with_name(path.name + ending).unlink(missing_ok=True)  # the log of another database
    os.rename(new, path)
    sync_folder(path.parent)


def _make(path: Path) -> None:
    new = path.with_name(path.name + ".new")
    for ending in ("", *_BESIDE):
        new.with_name(new.name + ending).unlink(missing_ok=True)
    os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    with contextlib.closing(_connect(new, "rw", journal="DELETE")) as connection:
        migrations.migrate(connection)
    put_in_place(new, path)


def _connect(path: Path, mode: str, *, journal: str = "WAL") -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=failures.LOCKED_SECONDS,
        isolation_level=None,  # transactions begin and end where we say so
        check_same_thread=False,  # it is handed from one thread to another, never shared
    )
    try:
        connection.execute(f"PRAGMA page_size = {_PAGE}")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute("PRAGMA trusted_schema = 0")
        connection.execute("PRAGMA foreign_keys = 1")
        if mode == "rw":
            connection.execute(f"PRAGMA journal_mode = {journal}")
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def _look_at(connection: sqlite3.Connection) -> None:
    migrations.check_version(connection)
    if (problem := is_sound(connection)) is not None:
        raise failures.damaged(problem)


def _close_to_others(path: Path) -> None:
    """See to it that only the daemon's user can read the file, however it came here."""
    if path.stat().st_mode & 0o077:
        log.warning("%s could be read by others; it is the daemon's user's alone now", path)
        with contextlib.suppress(OSError):  # it is somebody else's, and can only be read
            path.chmod(0o600)


def _check_kinds(path: Path) -> None:
    """Raise regular.Unusable where something else lies in place of a file of the database.

    They are not opened for that: closing a file gives up every lock that this process has on it.
    """
    for ending in ("", *_BESIDE):
        file = path.with_name(path.name + ending)
        with contextlib.suppress(FileNotFoundError):
            status = os.lstat(file)
            if not stat.S_ISREG(status.st_mode):
                raise regular.Unusable(file, f"it is {regular.kind(status)}, not a regular file")
