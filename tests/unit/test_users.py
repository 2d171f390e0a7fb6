"""Users and keys as the directory has them."""

from __future__ import annotations

import hashlib

from runnerd.access.permissions import Permission
from runnerd.access.users import Key, User, key_digest


def test_a_new_user() -> None:
    """Sees models and uses them, without limits, for ever."""
    user = User("id", "ann")
    assert user.permissions == {Permission.SESSION, Permission.VIEW_LLMS}
    assert not user.ended(1e12)


def test_ends() -> None:
    """At the moment that was said, not after it."""
    assert User("id", "ann", expires=5.0).ended(5.0)
    assert not User("id", "ann", expires=5.0).ended(4.9)
    assert User("id", "ann", disabled=True).ended(0.0)
    assert Key("k", "id", "", 0.0, expires=5.0).ended(5.0)
    assert not Key("k", "id", "", 0.0).ended(5.0)


def test_digest() -> None:
    """SHA-256 in uppercase, as Pantry keeps it; of anything that a header can hold."""
    assert key_digest("abc") == hashlib.sha256(b"abc").hexdigest().upper()
    assert len(key_digest("\udcff")) == 64
