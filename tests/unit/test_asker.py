"""Whose logins count for a transfer."""

from __future__ import annotations

from runnerd.access.logins import Login
from runnerd.pulls.asker import OWNER, STRANGER, Asker, OwnLogin, no_login
from runnerd.pulls.credentials import Credentials
from runnerd.pulls.hub import HubSource
from runnerd.pulls.registry import RegistrySource
from runnerd.pulls.settings import PullSettings

ANN = Asker(user_id="ann")
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
    assert registry(Asker(True, "boss")).login == LOGINS["boss", "r.org"]
    for asker in (OWNER, STRANGER, Asker(user_id="bob")):
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
    assert registry(Asker(user_id="bob")) == registry(STRANGER)
    assert "secret" not in repr(registry(ANN)) + repr(hub(ANN))


async def test_it_is_for_one_registry() -> None:
    """Another one gets nothing."""
    login = OwnLogin(LOGINS["ann", "r.org"])
    assert await login.find("r.org") == Credentials("name", "secret of ann")
    assert await login.find("evil.org") is None
    assert no_login("ann", "r.org") is None
