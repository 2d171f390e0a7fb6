"""What users may be called."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from uuid import UUID

from runnerd.access.users import User
from runnerd.accounts.user_rows import name_key
from runnerd.database import Connection
from runnerd.errors import ClientError, Conflict

_MOST_LETTERS = 100
_UID = re.compile(r"uid\s*[0-9]+", re.IGNORECASE)


def check_name(text: str) -> str:
    """The name as it is kept.  Raises errors.ClientError for what cannot be one."""
    name = unicodedata.normalize("NFC", text.strip())
    if not name:
        raise ClientError("the name of a user is empty", param="name")
    if len(name) > _MOST_LETTERS:
        raise ClientError(f"a user's name has at most {_MOST_LETTERS} letters", param="name")
    if not name.isprintable() or "/" in name:
        raise ClientError(f"{name!r} cannot be a user's name: only plain text, no /", param="name")
    if _is_id(name):
        raise ClientError("a user's name must not look like an id", param="name")
    if _is_anothers(name):
        raise ClientError(
            f"{name!r} is what the audit and usage call whoever has no key; choose another name",
            param="name",
        )
    return name


def is_new_name(connection: Connection, user: User) -> User:
    """The user; raises errors.Conflict where another one is called so, in any case."""
    found = connection.execute(
        "SELECT name FROM users WHERE name_key = ? AND id != ?", (name_key(user.name), user.id)
    ).fetchone()
    if found is not None:
        raise Conflict(f"there is a user {found[0]!r} already", param="name")
    return user


def _is_id(name: str) -> bool:
    try:
        UUID(name)
    except ValueError:
        return False
    return True


def _is_anothers(name: str) -> bool:
    """Whether it is how a principal without a key is called: a user of the host, an address."""
    if _UID.fullmatch(name):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
