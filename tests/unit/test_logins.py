"""Users' logins elsewhere: whose they are, and that they stay and go."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from runnerd.access.logins import Login, login_host
from runnerd.access.users import User
from runnerd.accounts.logins import LoginStore
from runnerd.accounts.users import UserStore
from runnerd.database import Database
from runnerd.errors import ClientError, NotFound, UserNotFound


class Kept:
    """A database with two users."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(folder)
        self.users = UserStore(self.database)
        self.logins = LoginStore(self.database, self.users)

    async def open(self) -> None:
        await self.database.open()
        await self.users.open()
        await self.logins.open()


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    kept = Kept(tmp_path)
    await kept.open()
    yield kept
    await kept.database.close()


async def added(kept: Kept, name: str) -> str:
    return (await kept.users.add(User("", name))).user.id


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("docker.io", "registry-1.docker.io"),
        ("https://index.docker.io/v1/", "registry-1.docker.io"),
        ("HF.co", "huggingface.co"),
        ("https://Registry.Example.org:5000/", "registry.example.org:5000"),
    ],
)
def test_hosts(text: str, host: str) -> None:
    """Each way to write one means the host that is asked."""
    assert login_host(text) == host


def test_no_secret_in_text() -> None:
    """A login that is printed by mistake does not tell it."""
    assert "hush" not in repr(Login("id", "host", "ann", "hush"))


async def test_it_stays(kept: Kept, tmp_path: Path) -> None:
    """After a restart each user has its own, the newest at each host."""
    ann, bob = await added(kept, "ann"), await added(kept, "bob")
    first = Login(ann, "b.org", "ann", "old", 1.0)
    second, other = replace(first, secret="new"), Login(ann, "a.org", "", "token", 2.0)
    for login in (first, second, other):
        await kept.logins.add(login)
    assert kept.logins.find(bob, "b.org") is None
    await kept.database.close()
    again = Kept(tmp_path)
    await again.open()
    assert again.logins.of(ann) == [other, second]
    assert again.logins.find(ann, "b.org") == second
    assert again.logins.of(bob) == []
    await again.database.close()


async def test_it_goes(kept: Kept) -> None:
    """By itself, and with its user."""
    ann = await added(kept, "ann")
    login = Login(ann, "a.org", "ann", "hush", 1.0)
    await kept.logins.add(login)
    await kept.logins.remove(ann, "a.org")
    assert kept.logins.find(ann, "a.org") is None
    with pytest.raises(NotFound):
        await kept.logins.remove(ann, "a.org")
    await kept.logins.add(login)
    await kept.users.remove("ann")
    assert kept.logins.of(ann) == []
    with pytest.raises(UserNotFound):
        await kept.logins.add(login)


async def test_a_copy_that_is_restored(kept: Kept) -> None:
    """Brings back what was there then."""
    ann = await added(kept, "ann")
    await kept.logins.add(Login(ann, "a.org", "ann", "hush", 1.0))
    async with kept.database.copy() as copy:
        await kept.logins.remove(ann, "a.org")
        await kept.database.restore(copy)
    await kept.logins.add(Login(ann, "b.org", "ann", "hush", 1.0))
    assert [login.host for login in kept.logins.of(ann)] == ["a.org", "b.org"]


async def test_how_many(kept: Kept) -> None:
    """Twenty of a user; at the same host another one takes its place."""
    ann, bob = await added(kept, "ann"), await added(kept, "bob")
    for number in range(20):
        await kept.logins.add(Login(ann, f"{number}.org", "ann", "x", 1.0))
    with pytest.raises(ClientError, match="20 hosts"):
        await kept.logins.add(Login(ann, "more.org", "ann", "x", 1.0))
    await kept.logins.add(Login(ann, "0.org", "ann", "y", 1.0))
    await kept.logins.add(Login(bob, "0.org", "bob", "x", 1.0))
