"""The snapshot of users and keys, and who a key belongs to."""

from __future__ import annotations

import pytest

from runnerd.access.directory import Directory
from runnerd.access.principals import PrincipalKind
from runnerd.access.users import Key, User, key_digest
from runnerd.errors import DatabaseFailure, Unauthorized

ANN = User("6c9d0d9e-0000-4000-8000-000000000001", "Ann")
BOB = User("6c9d0d9e-0000-4000-8000-000000000002", "bob", expires=100.0)
KEY = Key("k1", ANN.id, key_digest("secret of ann"), 1.0)
DIRECTORY = Directory(
    [ANN, BOB],
    [
        KEY,
        Key("k2", BOB.id, key_digest("secret of bob"), 1.0),
        Key("k3", ANN.id, key_digest("old"), 0.5, expires=50.0),
        Key("k4", "gone", key_digest("nobody's"), 1.0),
    ],
)


def test_a_key_is_its_users() -> None:
    """Who shows it is that user, by that key."""
    principal = DIRECTORY.authenticate("secret of ann", 10.0)
    assert principal.kind is PrincipalKind.USER
    assert (principal.user_id, principal.key) == (ANN.id, "k1")
    assert principal.id == f"user {ANN.id}"


@pytest.mark.parametrize(
    "secret", ["", "secret of an", "secret of ann ", "nobody's", KEY.digest, "k1", "\udcff\x00"]
)
def test_what_is_no_key(secret: str) -> None:
    """Neither a part of a key, nor what is kept of one, nor the key of a user that is gone."""
    with pytest.raises(Unauthorized, match="not valid"):
        DIRECTORY.authenticate(secret, 10.0)


def test_the_end_of_keys_and_users() -> None:
    """At its moment a key or a user ends, and whoever has the key is told so."""
    assert DIRECTORY.authenticate("old", 49.9).key == "k3"
    with pytest.raises(Unauthorized, match="expired"):
        DIRECTORY.authenticate("old", 50.0)
    assert DIRECTORY.authenticate("secret of bob", 99.0).key == "k2"
    with pytest.raises(Unauthorized, match="any more"):
        DIRECTORY.authenticate("secret of bob", 100.0)
    disabled = Directory([User(ANN.id, "ann", disabled=True)], [KEY])
    with pytest.raises(Unauthorized, match="any more"):
        disabled.authenticate("secret of ann", 10.0)


def test_where_nobody_knows_who_has_keys() -> None:
    """A key is not called wrong by a daemon that cannot read its database."""
    unreadable = Directory((), (), unreadable="the database is locked")
    with pytest.raises(DatabaseFailure, match="locked") as raised:
        unreadable.authenticate("secret of ann", 10.0)
    assert raised.value.retry_after


def test_looking_up() -> None:
    """Users by id or name, in any case; their keys by age."""
    assert DIRECTORY.find("ANN") is ANN
    assert DIRECTORY.find(BOB.id) is DIRECTORY.user(BOB.id) is BOB
    assert DIRECTORY.find("eve") is None
    assert DIRECTORY.users() == [ANN, BOB]
    assert [key.id for key in DIRECTORY.keys_of(ANN.id)] == ["k3", "k1"]
    assert DIRECTORY.key("k1") is KEY
    assert DIRECTORY.key("k4") is None
    assert Directory.EMPTY.users() == []


def test_nothing_shows_a_digest() -> None:
    """What is printed of a key by mistake cannot be used to look for it."""
    assert KEY.digest not in repr(KEY)
