"""OpenAI's conversations and their items as rows of the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from runnerd.database import Connection
from runnerd.errors import ConversationNotFound, LimitReached

_ENDED = (
    "FROM conversations WHERE expires <= ? OR (principal LIKE 'user %'"
    " AND substr(principal, 6) NOT IN (SELECT id FROM users))"
)


@dataclass(frozen=True, slots=True)
class Row:
    """A conversation; `items` is the position of its last item."""

    id: str
    principal: str
    metadata: dict[str, str]
    created: float
    used: float
    expires: float
    items: int = 0
    bytes: int = 0


def insert(connection: Connection, row: Row) -> None:
    """Add a conversation."""
    connection.execute(
        f"INSERT INTO conversations VALUES ({', '.join('?' * 8)})",
        (
            row.id,
            row.principal,
            msgspec.json.encode(row.metadata).decode(),
            row.created,
            row.used,
            row.expires,
            row.items,
            row.bytes,
        ),
    )


def find(connection: Connection, id: str) -> Row | None:
    """The conversation with this id."""
    found = connection.execute(
        "SELECT id, principal, metadata, created, used, expires, items, bytes FROM conversations"
        " WHERE id = ?",
        (id,),
    ).fetchone()
    if found is None:
        return None
    id, principal, metadata, *rest = found
    return Row(id, principal, msgspec.json.decode(metadata, type=dict[str, str]), *rest)


def found(connection: Connection, owner: str, id: str, now: float | None) -> Row:
    """A principal's conversation, which has not ended by `now`.

    Raises errors.ConversationNotFound.
    """
    row = find(connection, id)
    if row is None or row.principal != owner or (now is not None and row.expires <= now):
        raise ConversationNotFound(f"there is no conversation {id[:100]!r}")
    return row


def append(
    connection: Connection,
    owner: str,
    id: str,
    items: Sequence[dict[str, Any]],
    *,
    now: float,
    expires: float,
    most: int,
) -> int:
    """Add items behind those of a conversation; return the position of the last one.

    Raises errors.ConversationNotFound, and errors.LimitReached for more than `most` bytes.
    """
    row = found(connection, owner, id, now)
    texts = [msgspec.json.encode(item).decode() for item in items]
    size = row.bytes + sum(len(text.encode()) for text in texts)
    if size > most:
        raise LimitReached(
            f"this conversation would have {size} bytes, and {most} are the most; begin a new one",
            limit="conversation_bytes",
        )
    connection.executemany(
        "INSERT INTO conversation_items VALUES (?, ?, ?, ?)",
        [
            (id, row.items + number, item["id"], text)
            for number, (item, text) in enumerate(zip(items, texts, strict=True), 1)
        ],
    )
    last = row.items + len(items)
    connection.execute(
        "UPDATE conversations SET items = ?, bytes = ?, used = ?, expires = max(expires, ?)"
        " WHERE id = ?",
        (last, size, now, expires, id),
    )
    return last


def items(connection: Connection, id: str, most: int = 2**62) -> list[dict[str, Any]]:
    """Items of a conversation in their order, up to and with the position `most`."""
    texts = connection.execute(
        "SELECT item FROM conversation_items WHERE conversation = ? AND position <= ?"
        " ORDER BY position",
        (id, most),
    )
    return [msgspec.json.decode(text, type=dict[str, Any]) for (text,) in texts]


def item_of(connection: Connection, principal: str, id: str) -> dict[str, Any] | None:
    """The item with this id, of a conversation of a principal."""
    found = connection.execute(
        "SELECT item FROM conversation_items JOIN conversations"
        " ON conversation = conversations.id WHERE principal = ? AND conversation_items.id = ?"
        " ORDER BY position DESC LIMIT 1",
        (principal, id),
    ).fetchone()
    return None if found is None else msgspec.json.decode(found[0], type=dict[str, Any])


def delete_item(connection: Connection, conversation: str, id: str) -> bool:
    """Remove an item; whether there was one."""
    gone = connection.execute(
        "DELETE FROM conversation_items WHERE conversation = ? AND id = ?"
        " RETURNING length(CAST(item AS BLOB))",
        (conversation, id),
    ).fetchall()
    connection.execute(
        "UPDATE conversations SET bytes = bytes - ? WHERE id = ?",
        (sum(size for (size,) in gone), conversation),
    )
    return bool(gone)


def update(connection: Connection, id: str, metadata: dict[str, str]) -> None:
    """Replace what a conversation is noted with."""
    connection.execute(
        "UPDATE conversations SET metadata = ? WHERE id = ?",
        (msgspec.json.encode(metadata).decode(), id),
    )


def holdings(connection: Connection, principal: str) -> list[tuple[str, int]]:
    """Ids and bytes of a principal's conversations, the one used longest ago first."""
    return connection.execute(
        "SELECT id, bytes FROM conversations WHERE principal = ? ORDER BY used, id", (principal,)
    ).fetchall()


def delete(connection: Connection, ids: list[str]) -> None:
    """Remove conversations and their items."""
    connection.executemany("DELETE FROM conversations WHERE id = ?", [(id,) for id in ids])


def has_ended(connection: Connection, now: float) -> bool:
    """Whether there is one whose time is over."""
    return connection.execute(f"SELECT 1 {_ENDED} LIMIT 1", (now,)).fetchone() is not None


def delete_ended(connection: Connection, now: float) -> None:
    """Remove those whose time is over, or whose user is no more."""
    connection.execute(f"DELETE {_ENDED}", (now,))
