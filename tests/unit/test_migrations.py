"""Migrations go forward, whole or not at all."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from runnerd.database import Connection, Database, migrations

NEXT = ("CREATE TABLE more (name TEXT NOT NULL) STRICT", "INSERT INTO more SELECT 'of old'")


def step(monkeypatch: pytest.MonkeyPatch, *statements: str) -> None:
    """Let there be one more step."""
    monkeypatch.setattr(migrations, "STEPS", (*migrations.STEPS, statements))
    monkeypatch.setattr(migrations, "VERSION", migrations.VERSION + 1)


def names(connection: Connection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT name FROM more")]


def version(file: Path) -> int:
    with closing(sqlite3.connect(file)) as connection:
        return migrations.version_of(connection)


async def made(folder: Path) -> Path:
    """A database of the version before."""
    database = Database(folder)
    await database.open()
    await database.close()
    return database.path


async def test_an_older_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is brought up to date at the start, once."""
    file = await made(tmp_path)
    before = version(file)
    step(monkeypatch, *NEXT)
    for _ in range(2):
        database = Database(tmp_path)
        await database.open()
        assert await database.read(names) == ["of old"]
        await database.close()
    assert version(file) == before + 1


async def test_a_step_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the database as it was, with a problem that is told."""
    file = await made(tmp_path)
    before = version(file)
    step(monkeypatch, *NEXT, "INSERT INTO missing VALUES (1)")
    database = Database(tmp_path)
    await database.open()
    assert database.problem is not None
    assert "no such table" in database.problem.message
    await database.close()
    assert version(file) == before
    with closing(sqlite3.connect(file)) as connection, pytest.raises(sqlite3.OperationalError):
        names(connection)


async def test_an_older_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is brought up to date before it is put in place."""
    old = await made(tmp_path)
    kept = tmp_path / "kept"
    old.rename(kept)
    step(monkeypatch, *NEXT)
    database = Database(tmp_path)
    await database.open()
    await database.restore(kept)
    assert await database.read(names) == ["of old"]
    await database.close()
    assert version(old) == migrations.VERSION


def test_steps_are_statements() -> None:
    """Each is one, as sqlite3 takes them; together they make a sound database."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrations.migrate(connection)
        assert migrations.version_of(connection) == len(migrations.STEPS)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
