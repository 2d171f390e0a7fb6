"""Users and keys as rows of the database."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from runnerd.access.permissions import Permission
from runnerd.access.users import Key, User, UserLimits
from runnerd.database import Connection

TABLES = ("users", "keys")
_KNOWN = frozenset(Permission)
_USERS = "SELECT id, name, permissions, models, limits, expires, disabled, created FROM users"


class Rows(NamedTuple):
    """All users and keys."""

    users: list[User]
    keys: list[Key]


def load(connection: Connection) -> Rows:
    """Every user and key."""
    users = connection.execute(_USERS)
    keys = connection.execute("SELECT id, user_id, digest, created, expires, label FROM keys")
    return Rows([_user(row) for row in users], [Key(*row) for row in keys])


def find_user(connection: Connection, id: str) -> User | None:
    """The user with this id."""
    row = connection.execute(f"{_USERS} WHERE id = ?", (id,)).fetchone()
    return None if row is None else _user(row)


def _user(row: tuple[str, str, str, str, str, float | None, int, float]) -> User:
    id, name, permissions, models, limits, expires, disabled, created = row
    return User(
        id,
        name,
        frozenset(Permission(each) for each in permissions.split() if each in _KNOWN),
        msgspec.json.decode(models, type=tuple[str, ...]),
        msgspec.json.decode(limits, type=UserLimits),
        expires,
        bool(disabled),
        created,
    )


def insert_user(connection: Connection, user: User) -> None:
    """Add a user."""
    connection.execute(
        "INSERT INTO users (id, name, name_key, permissions, models, limits, expires, disabled,"
        " created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (user.id, *_values(user), user.created),
    )


def update_user(connection: Connection, user: User) -> None:
    """Change a user that there is."""
    connection.execute(
        "UPDATE users SET name = ?, name_key = ?, permissions = ?, models = ?, limits = ?,"
        " expires = ?, disabled = ? WHERE id = ?",
        (*_values(user), user.id),
    )


def _values(user: User) -> tuple[object, ...]:
    return (
        user.name,
        name_key(user.name),
        " ".join(sorted(user.permissions)),
        msgspec.json.encode(user.models).decode(),
        msgspec.json.encode(user.limits).decode(),
        user.expires,
        int(user.disabled),
    )


def name_key(name: str) -> str:
    """What two spellings of one name have in common."""
    return name.casefold()


def delete_user(connection: Connection, id: str) -> None:
    """Remove a user and its keys."""
    connection.execute("DELETE FROM users WHERE id = ?", (id,))


def insert_key(connection: Connection, key: Key) -> None:
    """Add a key."""
    connection.execute(
        "INSERT INTO keys (id, user_id, digest, created, expires, label) VALUES (?, ?, ?, ?, ?, ?)",
        (key.id, key.user_id, key.digest, key.created, key.expires, key.label),
    )


def delete_key(connection: Connection, id: str) -> bool:
    """Remove a key; say whether there was one."""
    return bool(connection.execute("DELETE FROM keys WHERE id = ?", (id,)).rowcount)
