"""Who did what: one entry for each change to models, users, settings and approvals.

Entries are only ever added; the database itself refuses to change one, and lets only the oldest go
(`database/migrations`).  Each is in the daemon's log as well; what cannot be written waits in
memory until it can.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import NamedTuple

from runnerd import tasks
from runnerd.database import Connection, Database
from runnerd.database.migrations import MOST_AUDIT_ENTRIES
from runnerd.errors import RunnerdError

log = logging.getLogger(__name__)

_MOST_LETTERS = 300
_WAIT = 1.0  # seconds that a response waits for its entry
_SPARE = 1000  # entries beyond the most, until some are removed
_MOST_WAITING = 1000  # entries that wait for a database that cannot be written; the oldest go


class AuditEntry(NamedTuple):
    """One change.  `principal` is an id, `who` what people call it; `route` is the method and the
    pattern of the path, or "" where it was no request; `status` is HTTP's.
    """

    time: float
    principal: str
    who: str
    action: str
    route: str
    subject: str
    status: int


class NumberedEntry(NamedTuple):
    """An entry as it was kept."""

    id: int
    entry: AuditEntry


class Audit:
    """Keeps the newest entries."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[AuditEntry] = deque(maxlen=_MOST_WAITING)
        self._writing = asyncio.Lock()
        self._failing = False

    async def add(self, entry: AuditEntry) -> None:
        """Add an entry, and wait a moment until it is kept; never fails."""
        entry = entry._replace(subject=_one_line(entry.subject), who=_one_line(entry.who))
        log.info("%s: %s, %s", entry.who, _told(entry), entry.status)
        self._waiting.append(entry)
        await asyncio.wait([tasks.spawn(self.flush(), name="audit")], timeout=_WAIT)

    async def flush(self) -> None:
        """Write down what waits; what cannot be written waits on."""
        async with self._writing:
            entries = list(self._waiting)
            if not entries:
                return
            try:
                await self._database.write(lambda connection: _insert(connection, entries))
            except RunnerdError as error:
                if not self._failing:
                    log.warning("the audit waits to be written: %s", error.message)
                self._failing = True
                return
            self._failing = False
            written = set(map(id, entries))
            while self._waiting and id(self._waiting[0]) in written:
                self._waiting.popleft()

    async def entries(
        self, *, limit: int, before: int | None = None, who: str | None = None
    ) -> list[NumberedEntry]:
        """The newest entries, newest first: before the one with this number, of this principal's id
        or name.  Raises errors.DatabaseFailure.
        """
        return await self._database.read(lambda connection: _select(connection, limit, before, who))


def _insert(connection: Connection, entries: list[AuditEntry]) -> None:
    for entry in entries:
        found = connection.execute(
            "INSERT INTO audit (time, principal, who, action, route, subject, status)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            entry,
        )
        newest = found.lastrowid or 0
        if newest % _SPARE == 0:
            connection.execute("DELETE FROM audit WHERE id <= ?", (newest - MOST_AUDIT_ENTRIES,))


def _select(
    connection: Connection, limit: int, before: int | None, who: str | None
) -> list[NumberedEntry]:
    found = connection.execute(
        "SELECT id, time, principal, who, action, route, subject, status FROM audit"
        " WHERE (? IS NULL OR id < ?) AND (? IS NULL OR principal = ? OR who = ?)"
        " ORDER BY id DESC LIMIT ?",
        (before, before, who, who, who, limit),
    )
    return [NumberedEntry(row[0], AuditEntry(*row[1:])) for row in found]


def _told(entry: AuditEntry) -> str:
    return " ".join(filter(None, (entry.action, entry.route, entry.subject)))


def _one_line(text: str) -> str:
    plain = "".join(letter if letter.isprintable() else " " for letter in text[:_MOST_LETTERS])
    return plain.encode("utf-8", "replace").decode()
