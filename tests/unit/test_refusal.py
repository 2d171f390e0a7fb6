"""Why changes of the database are not written: said as long as it is so."""

from __future__ import annotations

import logging
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from runnerd.database import writer as writers
from runnerd.database.refusal import Refusal, change_nothing
from runnerd.database.writer import Writer
from runnerd.errors import InsufficientStorage, StorageFailure
from tests.support.waiting import wait_for

COVERS = ("runnerd.database.writer",)


def test_each_reason_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A thousand refused changes are one line of the log, and so is their end."""
    caplog.set_level(logging.INFO)
    refusal = Refusal(tmp_path / "runnerd.db")
    refusal.note(None)
    for message in ("full", "full", "broken"):
        refusal.note(StorageFailure(message))
    refusal.note(None)
    refusal.note(None)
    assert refusal.error is None
    assert [record.getMessage() for record in caplog.records] == [
        "the database cannot be changed: full",
        "the database cannot be changed: broken",
        "the database can be changed again",
    ]


def test_a_disk_that_takes_nothing(tmp_path: Path) -> None:
    """What it says is the reason; where it takes something nothing of it stays."""
    refusal = Refusal(tmp_path / "gone" / "runnerd.db")
    assert not refusal.disk_is_well()
    assert isinstance(refusal.error, StorageFailure)
    (tmp_path / "gone").mkdir()
    assert refusal.disk_is_well()
    assert list((tmp_path / "gone").iterdir()) == []


def test_changing_nothing_is_a_change(tmp_path: Path) -> None:
    """It reaches the file, and nothing is another one afterwards."""
    path = tmp_path / "file.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA user_version = 7")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        change_nothing(connection)
        assert path.with_name("file.db-wal").stat().st_size > 4096
        assert connection.execute("PRAGMA user_version").fetchone() == (7,)


def test_a_writer_tries_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that does not fit is told of until it is known that others do."""
    monkeypatch.setattr(writers, "_RETRY", 0.01)
    well = threading.Event()
    monkeypatch.setattr(Refusal, "disk_is_well", lambda _: well.is_set())
    writer = Writer(tmp_path / "runnerd.db", lambda connection: None)
    writer.start().result()
    try:
        writer.submit(lambda connection: connection.execute("PRAGMA max_page_count = 1")).result()
        with pytest.raises(InsufficientStorage):
            writer.submit(
                lambda connection: connection.execute("CREATE TABLE x AS SELECT zeroblob(9999)")
            ).result()
        assert isinstance(writer.refusal.error, InsufficientStorage)
        well.set()
        wait_for(lambda: writer.refusal.error is None, "another try")
    finally:
        writer.close()
