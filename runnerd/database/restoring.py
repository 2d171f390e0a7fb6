"""What of a database outlives that an older copy is put in its place: the audit.

Whoever restores a copy takes users and keys back to an earlier day, and must not take back with
them that they were changed since.
"""

from __future__ import annotations

import sqlite3

_COLUMNS = "time, principal, who, action, route, subject, status"
_ENTRIES = f"SELECT {_COLUMNS} FROM audit ORDER BY id"
_ADD = f"INSERT INTO audit ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"


def keep_audit(present: sqlite3.Connection, copy: sqlite3.Connection) -> None:
    """Add to a copy the entries of the present database that it does not have, in their order."""
    known = set(copy.execute(_ENTRIES))
    newer = [entry for entry in present.execute(_ENTRIES) if entry not in known]
    copy.execute("BEGIN IMMEDIATE")
    copy.executemany(_ADD, newer)
    copy.execute("COMMIT")
