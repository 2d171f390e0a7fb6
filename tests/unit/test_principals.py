"""runnerd.access.principals: ids that no two kinds of principals share."""

from __future__ import annotations

from runnerd.access.principals import (
    NOBODY,
    PrincipalKind,
    address_principal,
    by_any_key,
    local_principal,
    on_behalf_of,
    owner_principal,
    user_id,
    user_principal,
)


def test_who_cannot_be_told_is_nobody() -> None:
    """With whom nothing is shared: its id is empty."""
    assert local_principal(None) is NOBODY
    assert address_principal("") is NOBODY
    assert NOBODY.id == ""


def test_a_users_id_is_told_from_what_else_looks_alike() -> None:
    """An address or a user of the host is never taken for a user with a key."""
    ann = user_principal("abc", "k1")
    assert (ann.id, ann.user_id, ann.key) == ("user abc", "abc", "k1")
    assert user_id("uid 1000") is None
    assert address_principal("user abc").user_id is None
    assert owner_principal(0).user_id is None
    assert local_principal(1000).kind is PrincipalKind.LOCAL


def test_what_goes_on_without_a_key_is_still_the_same_principal() -> None:
    """It shares queue and slots with itself."""
    ann = user_principal("abc", "k1")
    assert by_any_key(ann).key is None
    assert by_any_key(ann).id == ann.id
    assert by_any_key(ann) == by_any_key(user_principal("abc", "k2"))
    assert owner_principal(7).id == local_principal(7).id


def test_an_owner_may_act_for_others() -> None:
    """A user's id is the same on all hosts, another host's uid is no uid of this one; whoever is no
    owner stays who it is.
    """
    worker = owner_principal(7)
    assert on_behalf_of(worker, "user abc").id == "user abc"
    assert on_behalf_of(worker, "user abc").kind is PrincipalKind.OWNER
    assert on_behalf_of(worker, "uid 1000").id not in ("uid 1000", "uid 7")
    for other in (user_principal("abc", "k1"), local_principal(8), NOBODY):
        assert on_behalf_of(other, "user def") is other
