"""The thread that writes to the database: whatever the file does, everybody gets an answer."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from runnerd.database import Connection
from runnerd.database.writer import Writer
from runnerd.errors import DatabaseFailure


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    """One whose database has been opened before, so that nothing is left in its log."""
    path = tmp_path / "runnerd.db"
    first = Writer(path, lambda connection: None)
    first.start().result()
    first.close()
    writer = Writer(path, lambda connection: None)
    writer.start().result()
    yield writer
    writer.close()


def add(connection: Connection) -> None:
    connection.execute("INSERT INTO usage VALUES (1, 'p', 'm', 'p', 'm', 1, 0, 1, 1)")


def damage(path: Path, table: str | None) -> None:
    """Overwrite the page of a table, or the first one of all."""
    page = 1
    if table is not None:
        with closing(sqlite3.connect(path)) as connection:
            [(page,)] = connection.execute(
                "SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)
            )
    with open(path, "r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)


def forget_pages(connection: Connection | None) -> None:
    """Have SQLite read the file again."""
    assert connection is not None
    connection.execute("PRAGMA shrink_memory")


@pytest.mark.parametrize("table", [None, "usage"])
@pytest.mark.parametrize("together", [1, 2, 5])
async def test_damage_that_is_found_by_writing(
    writer: Writer, tmp_path: Path, table: str | None, together: int
) -> None:
    """However many changes come together, each is told, and so is who comes afterwards."""
    go_on = threading.Event()

    def work(connection: Connection | None) -> None:
        go_on.wait()
        forget_pages(connection)

    waiting = [writer.submit_alone(work), *(writer.submit(add) for _ in range(together))]
    damage(tmp_path / "runnerd.db", table)
    go_on.set()
    waiting += [writer.submit(add)]
    async with asyncio.timeout(20):
        found = await asyncio.gather(*map(asyncio.wrap_future, waiting), return_exceptions=True)
    assert found[0] is None
    for failure in found[1:]:
        assert isinstance(failure, DatabaseFailure)
        assert "damaged" in failure.message
