"""The audit: entries are added, never changed, and only the oldest go."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from runnerd.accounts import audit as audit_module
from runnerd.accounts.audit import Audit, AuditEntry
from runnerd.database import Database
from runnerd.database.migrations import MOST_AUDIT_ENTRIES


def entry(subject: str, who: str = "ann") -> AuditEntry:
    return AuditEntry(1.5, f"user {who}", who, "delete_model", "DELETE /m", subject, 200)


async def test_entries(database: Database) -> None:
    """The newest first, by who and from where one likes."""
    audit = Audit(database)
    for number in range(5):
        await audit.add(entry(f"m{number}", "ann" if number % 2 else "bob"))
    found = await audit.entries(limit=2)
    assert [(each.id, each.entry) for each in found] == [
        (5, entry("m4", "bob")),
        (4, entry("m3")),
    ]
    assert [each.id for each in await audit.entries(limit=2, before=4)] == [3, 2]
    assert [each.id for each in await audit.entries(limit=9, who="ann")] == [4, 2]
    assert [each.id for each in await audit.entries(limit=9, who="user bob")] == [5, 3, 1]


async def test_one_line_each(database: Database) -> None:
    """Whatever a subject has in it."""
    audit = Audit(database)
    await audit.add(entry("a\nb\x1b[31m\ud800" + "x" * 10_000))
    [(_, kept)] = await audit.entries(limit=1)
    assert kept.subject.startswith("a b [31m")
    assert len(kept.subject) == 300
    assert kept.subject.isprintable()


async def test_entries_stay(database: Database) -> None:
    """The database itself refuses to change or remove one."""
    audit = Audit(database)
    await audit.add(entry("m"))
    for statement in ("UPDATE audit SET who = 'eve'", "DELETE FROM audit"):
        with pytest.raises(sqlite3.IntegrityError, match="audit"):
            await database.write(lambda c, s=statement: c.execute(s).close())  # type: ignore[misc]
    assert len(await audit.entries(limit=9)) == 1


async def test_the_oldest_go(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table has a bound."""
    monkeypatch.setattr(audit_module, "_SPARE", 10)
    audit = Audit(database)
    await audit.add(entry("first"))
    await database.write(
        lambda c: c.execute(
            "UPDATE sqlite_sequence SET seq = ? WHERE name = 'audit'", (MOST_AUDIT_ENTRIES + 8,)
        ).close()
    )
    await audit.add(entry("second"))
    assert len(await audit.entries(limit=9)) == 2
    await audit.add(entry("third"))
    assert [each.entry.subject for each in await audit.entries(limit=9)] == ["third", "second"]


async def test_a_database_that_cannot_be_written(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever did it is not kept waiting; the entry is in the log, and written later."""
    monkeypatch.setattr(audit_module, "_WAIT", 0.0)
    caplog.set_level("INFO")
    audit = Audit(database)
    with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for number in range(3):
            await audit.add(entry(f"m{number}"))
        assert "ann: delete_model DELETE /m m2, 200" in caplog.text
        await audit.flush()
        assert "the audit waits to be written" in caplog.text
        assert await audit.entries(limit=9) == []
        other.execute("ROLLBACK")
    await audit.flush()
    assert [each.entry.subject for each in await audit.entries(limit=9)] == ["m2", "m1", "m0"]
