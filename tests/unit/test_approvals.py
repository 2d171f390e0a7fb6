"""What users ask the owner for, in the database, and the rules of deciding it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from runnerd.access.approvals import Approval, ApprovalKind, ApprovalState, still_open
from runnerd.access.permissions import Permission
from runnerd.access.users import User
from runnerd.accounts.approvals import ApprovalStore
from runnerd.accounts.users import UserStore
from runnerd.database import Database
from runnerd.errors import ApprovalNotFound, Conflict, LimitReached, UserNotFound

PENDING = Approval("id", "user", ApprovalKind.LOAD, {"model": "ai/m"}, 1.0)
SESSION = {"may": ["session"]}


class Kept:
    """A database with one user, and time that passes with each look at it."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(folder)
        self.users = UserStore(self.database)
        self.now = 0.0
        self.pace = 1.0
        self.approvals = ApprovalStore(self.database, self.users, clock=self._clock)
        self.user = ""

    def _clock(self) -> float:
        self.now += self.pace
        return self.now

    async def open(self) -> None:
        await self.database.open()
        await self.users.open()

    def may(self) -> frozenset[Permission]:
        return self.users.user(self.user).permissions


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    kept = Kept(tmp_path)
    await kept.open()
    kept.user = (await kept.users.add(User("", "ann", frozenset()))).user.id
    yield kept
    await kept.database.close()


def test_states() -> None:
    """As Pantry has them, by two words."""
    told = {
        state: (found.accepted, found.complete)
        for state in ApprovalState
        for found in [replace(PENDING, state=state)]
    }
    assert told == {
        ApprovalState.PENDING: (False, False),
        ApprovalState.ACCEPTED: (True, True),
        ApprovalState.REJECTED: (False, True),
        ApprovalState.WITHDRAWN: (False, True),
    }


def test_what_is_still_open() -> None:
    """What nobody has decided; what was decided otherwise is told."""
    accepted = replace(PENDING, state=ApprovalState.ACCEPTED, decided_by="bob")
    assert still_open(PENDING, ApprovalState.ACCEPTED)
    assert not still_open(accepted, ApprovalState.ACCEPTED)
    with pytest.raises(Conflict, match="bob has accepted"):
        still_open(accepted, ApprovalState.REJECTED)


async def test_it_stays(kept: Kept, tmp_path: Path) -> None:
    """Everything about a request is there after a restart."""
    asked, new = await kept.approvals.ask(kept.user, ApprovalKind.LOAD, {"model": "ai/m"}, "why")
    assert new
    failed = await kept.approvals.note_failure(asked.id, "no\nroom " + "x" * 1000)
    assert (failed.failure or "").startswith("no room x")
    assert len(failed.failure or "") == 500
    other, _ = await kept.approvals.ask(kept.user, ApprovalKind.UNLOAD, {"model": "ai/m"})
    rejected = await kept.approvals.reject(other.id, "bob", "not today")
    await kept.database.close()
    again = Kept(tmp_path)
    await again.open()
    assert await again.approvals.approvals(limit=10) == [failed, rejected]
    assert failed == replace(asked, failure=failed.failure)
    assert (rejected.decided_by, rejected.state) == ("bob", ApprovalState.REJECTED)
    assert rejected.decision_reason == "not today"
    await again.database.close()


async def test_permissions_are_given_with_the_decision(kept: Kept) -> None:
    """Once: what is changed afterwards stays, although it is accepted again."""
    asked, _ = await kept.approvals.ask(kept.user, ApprovalKind.PERMISSIONS, SESSION)
    assert (await kept.approvals.accept(asked.id, "bob")).accepted
    assert kept.may() == {Permission.SESSION}
    await kept.users.edit(kept.user, permissions=frozenset())
    again = await kept.approvals.accept(asked.id, "carl")
    assert again.decided_by == "bob"
    assert kept.may() == frozenset()
    with pytest.raises(Conflict, match="bob has accepted"):
        await kept.approvals.reject(asked.id, "carl")


@pytest.mark.parametrize("first", ["accept", "reject"])
async def test_two_at_once(kept: Kept, first: str) -> None:
    """The first one counts, and what is in force is what it said."""
    asked, _ = await kept.approvals.ask(kept.user, ApprovalKind.PERMISSIONS, SESSION)
    calls = [kept.approvals.accept(asked.id, "bob"), kept.approvals.reject(asked.id, "carl")]
    if first == "reject":
        calls.reverse()
    results = await asyncio.gather(*calls, return_exceptions=True)
    [conflict] = [result for result in results if isinstance(result, Conflict)]
    [decided] = [result for result in results if isinstance(result, Approval)]
    assert decided.decided_by in conflict.message
    assert kept.may() == ({Permission.SESSION} if decided.accepted else frozenset())
    assert await kept.approvals.get(asked.id) == decided


async def test_the_same_again(kept: Kept) -> None:
    """Is the same request as long as it is pending, however its details are ordered."""
    details = {"model": "ai/m", "tag": "x"}
    asked, _ = await kept.approvals.ask(kept.user, ApprovalKind.DOWNLOAD, details)
    swapped = dict(reversed(details.items()))
    assert await kept.approvals.ask(kept.user, ApprovalKind.DOWNLOAD, swapped) == (asked, False)
    await kept.approvals.reject(asked.id, "bob")
    again, new = await kept.approvals.ask(kept.user, ApprovalKind.DOWNLOAD, details)
    assert new
    assert again.id != asked.id


async def test_how_many(kept: Kept) -> None:
    """A hundred wait at most, and a hundred that are decided are kept."""
    kept.pace = 100.0
    for round in range(3):
        for number in range(50):
            details = {"model": f"ai/m{round}.{number}"}
            asked, _ = await kept.approvals.ask(kept.user, ApprovalKind.LOAD, details)
            await kept.approvals.reject(asked.id, "bob")
    found = await kept.approvals.approvals(limit=1000)
    assert len(found) == 100
    assert found[0].details == {"model": "ai/m2.49"}
    for number in range(100):
        await kept.approvals.ask(kept.user, ApprovalKind.LOAD, {"model": f"ai/m{number}"})
    with pytest.raises(LimitReached, match="pending_requests"):
        await kept.approvals.ask(kept.user, ApprovalKind.LOAD, {"model": "ai/more"})


async def test_how_many_an_hour(kept: Kept) -> None:
    """Also of requests that are withdrawn at once; later it goes on."""
    for number in range(150):
        asked, _ = await kept.approvals.ask(
            kept.user, ApprovalKind.LOAD, {"model": f"ai/m{number}"}
        )
        await kept.approvals.withdraw(asked.id, kept.user, "ann")
    with pytest.raises(LimitReached, match="requests_per_hour"):
        await kept.approvals.ask(kept.user, ApprovalKind.LOAD, {"model": "ai/more"})
    kept.now += 3600.0
    await kept.approvals.ask(kept.user, ApprovalKind.LOAD, {"model": "ai/more"})


async def test_withdrawing(kept: Kept) -> None:
    """It is the user's own, as long as nobody has decided it; twice changes nothing."""
    asked, _ = await kept.approvals.ask(kept.user, ApprovalKind.PERMISSIONS, SESSION)
    with pytest.raises(ApprovalNotFound):
        await kept.approvals.withdraw(asked.id, "somebody else", "bob")
    withdrawn, changed = await kept.approvals.withdraw(asked.id, kept.user, "ann")
    assert changed
    assert withdrawn.state is ApprovalState.WITHDRAWN
    again = await kept.approvals.withdraw(asked.id, kept.user, "ann")
    assert again == (withdrawn, False)
    with pytest.raises(Conflict, match="ann has withdrawn"):
        await kept.approvals.accept(asked.id, "bob")
    assert kept.may() == frozenset()
    other, _ = await kept.approvals.ask(kept.user, ApprovalKind.PERMISSIONS, SESSION)
    await kept.approvals.reject(other.id, "bob")
    with pytest.raises(Conflict, match="bob has rejected"):
        await kept.approvals.withdraw(other.id, kept.user, "ann")


async def test_what_is_not_there(kept: Kept) -> None:
    """Is told; also what went with its user."""
    asked, _ = await kept.approvals.ask(kept.user, ApprovalKind.PERMISSIONS, SESSION)
    await kept.users.remove("ann")
    for call in (
        kept.approvals.get(asked.id),
        kept.approvals.accept(asked.id, "bob"),
        kept.approvals.reject(asked.id, "bob"),
        kept.approvals.note_failure(asked.id, "x"),
    ):
        with pytest.raises(ApprovalNotFound):
            await call
    with pytest.raises(UserNotFound):
        await kept.approvals.ask(kept.user, ApprovalKind.PERMISSIONS, SESSION)


async def test_what_is_told(kept: Kept) -> None:
    """Each request that comes or changes, once it is in force; what changes nothing is not."""
    told: list[tuple[ApprovalState, frozenset[Permission]]] = []
    kept.approvals.subscribe(lambda approval: told.append((approval.state, kept.may())))
    asked, _ = await kept.approvals.ask(kept.user, ApprovalKind.PERMISSIONS, SESSION)
    await kept.approvals.ask(kept.user, ApprovalKind.PERMISSIONS, SESSION)
    await kept.approvals.accept(asked.id, "bob")
    await kept.approvals.accept(asked.id, "bob")
    assert told == [
        (ApprovalState.PENDING, frozenset()),
        (ApprovalState.ACCEPTED, {Permission.SESSION}),
    ]
