"""Users that register themselves, and how many of them there can be."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runnerd.access.approvals import ApprovalKind
from runnerd.access.permissions import Permission
from runnerd.access.users import User
from runnerd.accounts import registrations as limits
from runnerd.accounts.approvals import ApprovalStore
from runnerd.accounts.registrations import MOST_A_MINUTE, Registrations
from runnerd.accounts.users import UserStore
from runnerd.database import Database
from runnerd.errors import ClientError, LimitReached


class Kept:
    """A database, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(folder)
        self.users = UserStore(self.database)
        self.now = 1000.0
        self.approvals = ApprovalStore(self.database, self.users)
        self.registrations = Registrations(self.users, clock=lambda: self.now)

    async def register(self, name: str = "program") -> str:
        made = await self.registrations.register(name, "label")
        assert made.user.permissions == frozenset()
        assert made.key.label == "label"
        return made.user.name


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    kept = Kept(tmp_path)
    await kept.database.open()
    await kept.users.open()
    yield kept
    await kept.database.close()


async def test_names(kept: Kept) -> None:
    """One that is taken, in any case, gets a number; one that cannot be is refused."""
    await kept.users.add(User("", "Program", frozenset(Permission)))
    assert [await kept.register() for _ in range(3)] == ["program #2", "program #3", "program #4"]
    long = "x" * 100
    assert [await kept.register(long) for _ in range(2)] == [long, f"{'x' * 90} #2"]
    for name in ("", "x" * 101, "a\nb", "00000000-0000-0000-0000-000000000000", "uid 0"):
        with pytest.raises(ClientError):
            await kept.register(name)


async def test_so_many_a_minute(kept: Kept) -> None:
    """Then it takes until the first of them is a minute ago."""
    for number in range(MOST_A_MINUTE):
        kept.now += 1
        await kept.register(f"n{number}")
    with pytest.raises(LimitReached) as refused:
        await kept.register()
    assert refused.value.retry_after == pytest.approx(60 - MOST_A_MINUTE + 1)
    kept.now += refused.value.retry_after or 0.0
    await kept.register()


async def test_so_many_a_day(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """However slowly: each is a line of the audit, which would be pushed out."""
    monkeypatch.setattr(limits, "MOST_A_DAY", MOST_A_MINUTE + 2)
    for number in range(MOST_A_MINUTE + 2):
        kept.now += 60
        await kept.register(f"n{number}")
    with pytest.raises(LimitReached, match="a day") as refused:
        await kept.register()
    kept.now += refused.value.retry_after or 0.0
    await kept.register()


async def test_so_many_that_wait(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that the owner has let in, or has added, do not count; who asks for nothing makes room
    once there was time to.
    """
    monkeypatch.setattr(limits, "MOST_WAITING", 2)
    await kept.users.add(User("", "added", frozenset()))
    for name in ("asks", "idle"):
        await kept.register(name)
    asks = kept.users.user("asks").id
    await kept.approvals.ask(asks, ApprovalKind.PERMISSIONS, {"may": ["session"]})
    with pytest.raises(LimitReached) as refused:
        await kept.register()
    assert refused.value.limit == "registrations"
    kept.now += 601
    await kept.register("new")
    assert {user.name for user in kept.users.directory.users()} == {"added", "asks", "new"}
    with pytest.raises(LimitReached):
        await kept.register()
    await kept.users.edit("asks", permissions=frozenset({Permission.SESSION}))
    await kept.register()
