"""A restored copy does not take back what the audit has."""

from __future__ import annotations

from pathlib import Path

from runnerd.accounts.audit import Audit, AuditEntry
from runnerd.database import Database


def entry(subject: str, moment: float) -> AuditEntry:
    return AuditEntry(moment, "uid 0", "uid 0", "manage_users", "POST /x", subject, 200)


async def test_the_audit_goes_on(tmp_path: Path) -> None:
    """Entries since the copy was made stay, in their order and once; the next ones follow."""
    database = Database(tmp_path)
    await database.open()
    audit = Audit(database)
    await audit.add(entry("before", 1.0))
    kept = database.new_copy_path()
    async with database.copy() as copy:
        kept.write_bytes(copy.read_bytes())
    await audit.add(entry("since", 2.0))
    await audit.add(entry("since", 3.0))
    await database.restore(kept)
    await audit.add(entry("after", 4.0))
    found = await audit.entries(limit=9)
    assert [(each.id, each.entry.subject, each.entry.time) for each in found] == [
        (4, "after", 4.0),
        (3, "since", 3.0),
        (2, "since", 2.0),
        (1, "before", 1.0),
    ]
    await database.close()


async def test_a_copy_of_another_host(tmp_path: Path) -> None:
    """Both have their entries in it."""
    (tmp_path / "other").mkdir()
    other, database = Database(tmp_path / "other"), Database(tmp_path)
    await other.open()
    await database.open()
    await Audit(other).add(entry("theirs", 1.0))
    await Audit(database).add(entry("ours", 2.0))
    kept = database.new_copy_path()
    async with other.copy() as copy:
        kept.write_bytes(copy.read_bytes())
    await database.restore(kept)
    found = await Audit(database).entries(limit=9)
    assert [each.entry.subject for each in found] == ["ours", "theirs"]
    await other.close()
    await database.close()
