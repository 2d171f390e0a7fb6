"""Kept responses as rows of the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from runnerd.database import Connection

_ENDED = (
    "SELECT root FROM responses WHERE ? IS NULL OR root = ? GROUP BY root"
    " HAVING max(CASE WHEN hidden THEN 0 ELSE expires END) <= ?"
    " OR (principal LIKE 'user %' AND substr(principal, 6) NOT IN (SELECT id FROM users))"
)


@dataclass(frozen=True, slots=True)
class Row:
    """A response; `position` is how many items its conversation had with it, `hidden` that it was
    deleted and is still the beginning of others.
    """

    id: str
    principal: str
    root: str
    previous: str | None
    conversation: str | None
    position: int
    input: list[dict[str, Any]]
    response: dict[str, Any]
    created: float
    expires: float
    hidden: bool = False

    @property
    def output(self) -> list[dict[str, Any]]:
        """The items that the response consists of."""
        found: list[dict[str, Any]] = self.response.get("output", [])
        return found

    @property
    def bytes(self) -> int:
        """How much it takes."""
        return len(msgspec.json.encode(self.input)) + len(msgspec.json.encode(self.response))


def insert(connection: Connection, row: Row) -> None:
    """Add a response."""
    connection.execute(
        f"INSERT INTO responses VALUES ({', '.join('?' * 12)})",
        (
            row.id,
            row.principal,
            row.root,
            row.previous,
            row.conversation,
            row.position,
            msgspec.json.encode(row.input).decode(),
            msgspec.json.encode(row.response).decode(),
            row.created,
            row.expires,
            row.bytes,
            row.hidden,
        ),
    )
    connection.executemany(
        "INSERT OR IGNORE INTO response_items VALUES (?, ?)",
        [(item["id"], row.id) for item in row.output if "id" in item],
    )


def find(connection: Connection, id: str) -> Row | None:
    """The response with this id, hidden or not."""
    found = connection.execute(
        "SELECT id, principal, root, previous, conversation, position, input, response, created,"
        " expires, hidden FROM responses WHERE id = ?",
        (id,),
    ).fetchone()
    if found is None:
        return None
    id, principal, root, previous, conversation, position, input, response, *rest = found
    created, expires, hidden = rest
    return Row(
        id,
        principal,
        root,
        previous,
        conversation,
        position,
        msgspec.json.decode(input, type=list[dict[str, Any]]),
        msgspec.json.decode(response, type=dict[str, Any]),
        created,
        expires,
        bool(hidden),
    )


def item(connection: Connection, principal: str, id: str) -> dict[str, Any] | None:
    """The item with this id, of a response of a principal."""
    found = connection.execute("SELECT response FROM response_items WHERE id = ?", (id,)).fetchall()
    for (response,) in found:
        row = find(connection, response)
        if row is not None and row.principal == principal and not row.hidden:
            return next(each for each in row.output if each.get("id") == id)
    return None


def bytes_of_root(connection: Connection, root: str) -> int:
    """How much the responses of a root take."""
    return int(
        connection.execute(
            "SELECT coalesce(sum(bytes), 0) FROM responses WHERE root = ?", (root,)
        ).fetchone()[0]
    )


def holdings(connection: Connection, principal: str) -> list[tuple[str, int]]:
    """The roots of a principal and what they take, the one gone on from longest ago first."""
    return connection.execute(
        "SELECT root, sum(bytes) FROM responses WHERE principal = ? GROUP BY root"
        " ORDER BY max(created), root",
        (principal,),
    ).fetchall()


def hide(connection: Connection, id: str) -> None:
    """Let a response be known no more."""
    connection.execute("UPDATE responses SET hidden = 1 WHERE id = ?", (id,))


def delete(connection: Connection, roots: list[str]) -> None:
    """Remove all responses of roots."""
    connection.executemany("DELETE FROM responses WHERE root = ?", [(root,) for root in roots])


def has_ended(connection: Connection, now: float) -> bool:
    """Whether there is a root that has ended."""
    return connection.execute(f"{_ENDED} LIMIT 1", (None, None, now)).fetchone() is not None


def delete_ended(connection: Connection, root: str | None, now: float) -> None:
    """Remove a root, or all roots, of which no response is known any more."""
    found = connection.execute(_ENDED, (root, root, now)).fetchall()
    delete(connection, [id for (id,) in found])
