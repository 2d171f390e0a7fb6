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


# Of each table that has somebody's rows, what docs/sharing.md says of how many.
HELD_BY_EACH = {
    "approvals": "requests to the owner",
    "audit": "lines of usage and audit",
    "batches": "`jobs.batches`",
    "conversations": "`sessions.response_bytes_per_user`",
    "files": "`jobs.files`",
    "job_bytes": "`jobs.bytes`",
    "job_counts": "`jobs.open`",
    "job_result_bytes": "`jobs.result_bytes`",
    "job_turns": "`jobs.open`",
    "jobs": "`jobs.open`",
    "keys": "keys",
    "llms": "registry entries",
    "logins": "logins at registries and hubs",
    "registrations": "keys",  # a user's own row
    "responses": "`sessions.response_bytes_per_user`",
    "sessions": "`sessions.per_user`",
    "usage": "lines of usage and audit",
}


def test_what_each_user_holds_is_limited() -> None:
    """A table with rows of principals is in the list of limits, which is for users to read."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrations.migrate(connection)
        found = connection.execute(
            "SELECT DISTINCT t.name FROM sqlite_schema t, pragma_table_info(t.name) c"
            " WHERE t.type = 'table' AND c.name IN ('principal', 'user_id', 'owner')"
        )
        assert {name for (name,) in found} == HELD_BY_EACH.keys()
    text = (Path(__file__).parents[2] / "docs" / "sharing.md").read_text()
    listed = text.partition("## What one user can take")[2].partition("\n## ")[0]
    assert [limit for limit in HELD_BY_EACH.values() if limit not in listed] == []
