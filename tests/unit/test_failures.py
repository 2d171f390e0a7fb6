"""What is told of failures: of a runner (`runner.failures`), of the database (its `failures`)."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from pathlib import Path

import pytest

from runnerd.database.failures import explained, is_busy, is_damage
from runnerd.errors import (
    DatabaseFailure,
    DatabaseLocked,
    InsufficientStorage,
    RunnerdError,
    StorageFailure,
)
from runnerd.runner.failures import EngineHang, unforeseen


@pytest.mark.parametrize(
    ("error", "said", "level"),
    [
        (OSError(24, "Too many open files"), "OSError: Too many open files", logging.WARNING),
        (asyncio.CancelledError(), "CancelledError", logging.WARNING),
        (KeyError("x"), "KeyError: 'x'", logging.ERROR),
        (ValueError(), "ValueError", logging.ERROR),
    ],
)
def test_what_nobody_foresaw(
    error: BaseException, said: str, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A mistake of the backend's has its traceback in the log, what the host does has none."""
    failure = unforeseen(error, runner="r", backend="b", loading=True)
    assert failure.message == f"backend b failed: {said}"
    assert failure.__cause__ is error
    [record] = caplog.records
    assert record.levelno == level
    assert bool(record.exc_info and record.exc_info[0]) is (level == logging.ERROR)


def test_a_hang_is_told_as_a_timeout() -> None:
    """So that clients try again elsewhere, and not the same at once."""
    hang = EngineHang("it hangs", exit_reason="hang")
    assert (hang.status, hang.code) == (504, "engine_hang")


def sqlite_error(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("what SQLite says")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_FULL, InsufficientStorage),
        (sqlite3.SQLITE_IOERR | 3 << 8, StorageFailure),  # with details
        (sqlite3.SQLITE_READONLY, StorageFailure),
        (sqlite3.SQLITE_CANTOPEN, StorageFailure),
        (sqlite3.SQLITE_BUSY, DatabaseLocked),
        (sqlite3.SQLITE_LOCKED, DatabaseLocked),
        (sqlite3.SQLITE_CORRUPT, DatabaseFailure),
        (sqlite3.SQLITE_NOTADB, DatabaseFailure),
    ],
)
def test_what_sqlite_says_has_a_status(code: int, kind: type[RunnerdError], tmp_path: Path) -> None:
    """Only what may pass says when to try again; nothing of the attempt to find out is left."""
    error = sqlite_error(code)
    told = explained(error, tmp_path / "runnerd.db")
    assert type(told) is kind
    assert is_busy(error) is (kind is DatabaseLocked)
    assert is_damage(error) is (kind is DatabaseFailure)
    assert (told.retry_after is not None) is (kind is DatabaseLocked)
    assert list(tmp_path.iterdir()) == []


def test_a_bug_is_none_of_these(tmp_path: Path) -> None:
    """It is raised again, and looks like what it is."""
    error = sqlite_error(sqlite3.SQLITE_ERROR)
    with pytest.raises(sqlite3.OperationalError) as raised:
        explained(error, tmp_path / "runnerd.db")
    assert raised.value is error
