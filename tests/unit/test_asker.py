"""Whose logins count for a transfer."""

from __future__ import annotations

import pytest

from runnerd.access import (
    Directory,
    Key,
    Permission,
    Rules,
    User,
    address_principal,
    by_any_key,
    owner_principal,
    user_principal,
)
from runnerd.access.logins import Login
from runnerd.errors import Unauthorized
from runnerd.pulls.asker import STRANGER, Asker, OwnLogin, no_login
from runnerd.pulls.credentials import Credentials
from runnerd.pulls.hub import HubSource
from runnerd.pulls.registry import RegistrySource
from runnerd.pulls.settings import PullSettings

OWNER = Asker(owner_principal(0), is_owner=True)
ANN, BOB = (Asker(user_principal(name, "key")) for name in ("ann", "bob"))
BOSS = Asker(user_principal("boss", "key"), is_owner=True)
LOGINS = {
    (user, host): Login(user, host, "name", f"secret of {user}")
    for user in ("ann", "boss")
    for host in ("r.org", "huggingface.co", "registry-1.docker.io")
}
SETTINGS = PullSettings()


def find(user_id: str, host: str) -> Login | None:
    return LOGINS.get((user_id, host))


def registry(asker: Asker, name: str = "r.org/x/m", token: str | None = None) -> RegistrySource:
    source = RegistrySource.parse(name, token=token, for_owner=asker.is_owner)
    return source.shown_by(asker, find, SETTINGS)


def hub(asker: Asker, token: str | None = None) -> HubSource:
    source = HubSource.parse("hf.co/org/repo", token=token, revision=None)
    return source.shown_by(asker, find, SETTINGS)


def test_a_registry() -> None:
    """A user's own login counts there, and nobody else's; the owner has none of these."""
    assert registry(ANN).login == LOGINS["ann", "r.org"]
    assert registry(ANN, "x/m").login == LOGINS["ann", "registry-1.docker.io"]
    assert registry(ANN, "other.org/x/m").login is None
    assert registry(BOSS).login == LOGINS["boss", "r.org"]
    for asker in (OWNER, STRANGER, BOB):
        assert registry(asker).login is None
    assert registry(ANN, token="said").login is None


def test_the_hub() -> None:
    """Its tokens in the same way."""
    assert hub(ANN).token == "secret of ann"
    assert hub(ANN, token="said").token == "said"
    assert hub(OWNER).token is None


def test_transfers_are_not_shared_with_who_has_no_login() -> None:
    """Sources are equal only where the same is shown."""
    assert registry(ANN) != registry(STRANGER)
    assert registry(BOB) == registry(STRANGER)
    assert "secret" not in repr(registry(ANN)) + repr(hub(ANN))


async def test_it_is_for_one_registry() -> None:
    """Another one gets nothing."""
    login = OwnLogin(LOGINS["ann", "r.org"])
    assert await login.find("r.org") == Credentials("name", "secret of ann")
    assert await login.find("evil.org") is None
    assert no_login("ann", "r.org") is None


def test_who_asks() -> None:
    """By the policy; a key that is replaced ends nothing."""
    user = User("u", "boss", permissions=frozenset({Permission.SUPERUSER}))
    keys = (Key("k", "u", "D", 0.0), Key("l", "u", "E", 0.0))
    rules = Rules(lambda: 0.0, Directory((user,), keys))
    boss, owner = user_principal("u", "k"), owner_principal(0)
    assert Asker.of(boss, rules) == Asker(by_any_key(boss), is_owner=True)
    assert Asker.of(boss, rules).user_id == "u"
    assert Asker.of(owner, rules) == Asker(owner, is_owner=True)
    assert Asker.of(address_principal("10.0.0.1"), rules).is_owner is False
    assert STRANGER.user_id is None
    with pytest.raises(Unauthorized):
        Asker.of(user_principal("gone", "x"), rules)
