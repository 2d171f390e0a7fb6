"""Who may do what, by the rules and by the directory as it is at the moment of asking."""

from __future__ import annotations

import pytest

from runnerd.access import (
    NOBODY,
    Action,
    Directory,
    Key,
    Permission,
    Principal,
    Rules,
    User,
    UserLimits,
    address_principal,
    by_any_key,
    local_principal,
    owner_principal,
    user_principal,
)
from runnerd.access.permissions import NEEDED, WITHOUT_A_KEY
from runnerd.access.users import key_digest
from runnerd.errors import PermissionMissing, Unauthorized

SECRET = "s" * 43


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def directory(user: User, *, expires: float | None = None) -> Directory:
    return Directory((user,), (Key("k", user.id, key_digest(SECRET), 0.0, expires),))


def allowed(rules: Rules, principal: Principal) -> set[Action]:
    """What a principal may; what it may not is told by the permission's name."""
    found, told = set(), {}
    for action in Action:
        try:
            rules.check(principal, action)
        except PermissionMissing as error:
            told[action] = error.permission, error.message
        except Unauthorized:
            continue
        else:
            found.add(action)
    for action, (permission, message) in told.items():
        assert permission == NEEDED[action]
        assert f" {permission}," in message
    return found


def test_every_action_has_its_permission() -> None:
    """None can be forgotten."""
    assert set(NEEDED) == set(Action)


def test_without_a_key() -> None:
    """Owners may everything, whoever is let in uses and sees models, nobody what is for anybody."""
    rules = Rules(Clock())
    assert allowed(rules, owner_principal(0)) == set(Action)
    some = {action for action, needed in NEEDED.items() if needed in (None, *WITHOUT_A_KEY)}
    for principal in (local_principal(1000), address_principal("10.0.0.1")):
        assert allowed(rules, principal) == some
        assert not rules.sees_everything(principal)
    assert Action.CONFIGURE_MODEL not in some
    assert Action.USE_MODEL in some
    assert allowed(rules, NOBODY) == {Action.PUBLIC, Action.REGISTER}


@pytest.mark.parametrize("permission", Permission)
def test_a_user_with_one_permission(permission: Permission) -> None:
    """It may what takes that, and what takes none; a superuser everything."""
    rules = Rules(Clock(), directory(User("u", "ann", frozenset({permission}))))
    principal = user_principal("u", "k")
    expected = {action for action, needed in NEEDED.items() if needed in (None, permission)}
    superuser = permission is Permission.SUPERUSER
    assert allowed(rules, principal) == (set(Action) if superuser else expected)
    assert rules.sees_everything(principal) is superuser


def test_what_is_revoked_counts_at_the_next_question() -> None:
    """A principal that was made of a key is worth what the directory says of that key now."""
    clock = Clock()
    user = User("u", "ann", models=("ai/*",), limits=UserLimits(priority=3))
    rules, principal = Rules(clock, directory(user)), user_principal("u", "k")
    rules.check(principal, Action.USE_MODEL)
    assert rules.grants(principal) == ("ai/*",)
    assert rules.limits(principal).priority == 3
    for changed in (
        directory(User("u", "ann", disabled=True)),
        directory(User("u", "ann", expires=1000.0)),
        directory(user, expires=1000.0),
        Directory((user,), ()),
        Directory((User("v", "bob"),), (Key("k", "v", key_digest(SECRET), 0.0),)),
        Directory.EMPTY,
    ):
        rules.adopt(changed)
        for ask in (rules.grants, rules.limits, rules.sees_everything):
            with pytest.raises(Unauthorized):
                ask(principal)
        with pytest.raises(Unauthorized):
            rules.check(principal, Action.PUBLIC)
    rules.adopt(directory(User("u", "ann", frozenset())))
    with pytest.raises(PermissionMissing):
        rules.check(principal, Action.USE_MODEL)
    assert rules.grants(principal) is None


def test_time_ends_what_it_is_to_end() -> None:
    """Whatever was asked before."""
    clock = Clock()
    for who in (
        directory(User("u", "ann", expires=1010.0)),
        directory(User("u", "a"), expires=1010),
    ):
        clock.now = 1000.0
        rules = Rules(clock, who)
        rules.check(user_principal("u", "k"), Action.USE_MODEL)
        clock.now = 1010.0
        with pytest.raises(Unauthorized):
            rules.check(user_principal("u", "k"), Action.USE_MODEL)


def test_a_user_by_any_of_its_keys() -> None:
    """It counts as long as one key does, whichever was shown when it was let in."""
    clock, shown = Clock(), user_principal("u", "k")
    clock.now = 1000.0
    user, digest = User("u", "ann", models=("ai/*",)), key_digest(SECRET)
    bobs = Key("b", "v", digest, 0.0)
    first, second = Key("k", "u", digest, 0.0), Key("l", "u", digest, 5.0, 1010.0)
    users = (user, User("v", "bob"))
    rules = Rules(clock, Directory(users, (first, bobs)))
    assert rules.grants(by_any_key(shown)) == ("ai/*",)
    rules.adopt(Directory(users, (second, bobs)))
    rules.check(by_any_key(shown), Action.USE_MODEL)
    with pytest.raises(Unauthorized):
        rules.check(shown, Action.USE_MODEL)
    clock.now = 1010.0
    for keys in ((second, bobs), (bobs,)):
        with pytest.raises(Unauthorized):
            rules.limits(by_any_key(shown))
        rules.adopt(Directory(users, keys))
    assert by_any_key(owner_principal(0)) == owner_principal(0)
    assert by_any_key(user_principal("u", "")) != user_principal("u", "")


def test_keys_and_placeholders() -> None:
    """Clients that have to send a key send any, until a user who may do something has one."""
    rules = Rules(Clock())
    assert rules.authenticate("unused") is None
    with pytest.raises(Unauthorized):
        rules.authenticate("w" * 43)
    rules.adopt(directory(User("u", "ann", frozenset())))
    assert rules.authenticate("unused") is None
    assert rules.authenticate(SECRET) == user_principal("u", "k")
    rules.adopt(directory(User("u", "ann", frozenset({Permission.SESSION}))))
    assert rules.authenticate(SECRET) == user_principal("u", "k")
    for wrong in ("unused", "w" * 43, SECRET[:-1], SECRET.upper(), ""):
        with pytest.raises(Unauthorized):
            rules.authenticate(wrong)


def test_a_superuser_has_all_models() -> None:
    """Patterns do not narrow what a superuser sees."""
    user = User("u", "ann", frozenset({Permission.SUPERUSER}), models=("ai/*",))
    assert Rules(Clock(), directory(user)).grants(user_principal("u", "k")) is None
