"""Deciding requests and doing what was accepted: once, and never against what was decided."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from runnerd.access import Principal, User, owner_principal
from runnerd.access.approvals import Approval, ApprovalKind, ApprovalState
from runnerd.accounts.accounts import Accounts
from runnerd.api.admin.approval_work import ApprovalWork, described
from runnerd.errors import ApprovalNotFound, Conflict, Draining, SourceFailure
from runnerd.tasks import spawn

OWNER, OTHER = owner_principal(0), owner_principal(7)
MODEL = {"model": "ai/m"}


class Loads:
    """What stands for loading: it waits until it is let go, and fails with `failure`."""

    def __init__(self) -> None:
        self.begun = 0
        self.go = asyncio.Event()
        self.failure: Exception | None = None
        self.owner: Principal | None = None

    async def __call__(self, approval: Approval, owner: Principal) -> None:
        assert approval.details == MODEL
        self.begun += 1
        self.owner = owner
        await self.go.wait()
        if self.failure is not None:
            raise self.failure


class Parts:
    """Accounts with one user, and the work."""

    def __init__(self, folder: Path) -> None:
        self.accounts = Accounts(folder, str)
        self.loads = Loads()
        self.work = ApprovalWork(self.accounts, {ApprovalKind.LOAD: self.loads})
        self.user = ""

    async def ask(
        self, kind: ApprovalKind = ApprovalKind.LOAD, details: Mapping[str, Any] = MODEL
    ) -> Approval:
        return (await self.accounts.approvals.ask(self.user, kind, details)).approval

    async def settled(self, id: str) -> Approval:
        """The request, once all is done and told: the database shows the end before that."""
        while self.work._tasks:
            await asyncio.sleep(0)
        return await self.accounts.approvals.get(id)

    async def entries(self) -> list[tuple[str, str, int]]:
        found = await self.accounts.audit.entries(limit=10)
        return [(each.entry.who, each.entry.subject, each.entry.status) for each in found]


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    parts = Parts(tmp_path)
    await parts.accounts.open()
    parts.user = (await parts.accounts.users.add(User("", "ann"))).user.id
    yield parts
    await parts.work.close()
    await parts.accounts.close()


async def test_it_is_done_once(parts: Parts) -> None:
    """Whoever accepts meanwhile or afterwards changes nothing, and who rejects is told."""
    asked = await parts.ask()
    both = [parts.work.accept(asked.id, who) for who in (OWNER, OTHER)]
    for begun in await asyncio.gather(*both):
        assert parts.work.is_working(begun)
        assert not begun.complete
    with pytest.raises(Conflict, match="uid 0 has accepted"):
        await parts.work.reject(asked.id, OTHER)
    parts.loads.go.set()
    done = await parts.settled(asked.id)
    assert (done.state, done.decided_by) == (ApprovalState.ACCEPTED, "uid 0")
    assert await parts.work.accept(asked.id, OTHER) == done
    assert parts.loads.begun == 1
    assert parts.loads.owner == OWNER
    with pytest.raises(Conflict, match="uid 0 has accepted"):
        await parts.work.reject(asked.id, OTHER)


@pytest.mark.parametrize("first", ["accept", "reject"])
async def test_two_at_once(parts: Parts, first: str) -> None:
    """What is rejected is not done, and what is done is not rejected."""
    parts.loads.go.set()
    calls = {"accept": parts.work.accept, "reject": parts.work.reject}
    order = [first, *(name for name in calls if name != first)]
    asked = await parts.ask()
    results = await asyncio.gather(
        *(calls[name](asked.id, OWNER) for name in order), return_exceptions=True
    )
    assert [isinstance(result, Conflict) for result in results] == [False, True]
    found = await parts.settled(asked.id)
    assert found.accepted is (first == "accept")
    assert parts.loads.begun == (1 if first == "accept" else 0)


@pytest.mark.parametrize(
    ("error", "failure", "status"),
    [
        (SourceFailure("the registry is down"), "the registry is down", 502),
        (ValueError("x"), "internal error; the daemon's log has more", 500),
    ],
)
async def test_what_fails(parts: Parts, error: Exception, failure: str, status: int) -> None:
    """It stays pending with the reason, which is told and in the audit; then it succeeds."""
    told: list[tuple[str | None, bool]] = []
    asked = await parts.ask()
    parts.accounts.approvals.subscribe(
        lambda each: told.append((each.failure, parts.work.is_working(each)))
    )
    parts.loads.failure = error
    parts.loads.go.set()
    await parts.work.accept(asked.id, OWNER)
    failed = await parts.settled(asked.id)
    assert (failed.state, failed.failure) == (ApprovalState.PENDING, failure)
    parts.loads.failure = None
    await parts.work.accept(asked.id, OTHER)
    done = await parts.settled(asked.id)
    assert (done.accepted, done.failure) == (True, None)
    assert told == [(None, True), (failure, False), (failure, True), (None, False)]
    await parts.work.close()
    assert (await parts.entries())[-1] == ("uid 0", f"ann load ai/m: {failure}", status)


async def test_withdrawing(parts: Parts) -> None:
    """What is being done stays; else it ends, once, with an entry in the audit."""
    asked = await parts.ask()
    await parts.work.accept(asked.id, OWNER)
    with pytest.raises(Conflict, match="uid 0 has accepted this request just now"):
        await parts.work.withdraw(asked.id, parts.user)
    parts.loads.go.set()
    assert (await parts.settled(asked.id)).accepted
    other = await parts.ask(ApprovalKind.PERMISSIONS, {"may": ["session"]})
    with pytest.raises(ApprovalNotFound):
        await parts.work.withdraw(other.id, "somebody else")
    for _ in range(2):
        assert (await parts.work.withdraw(other.id, parts.user)).decided_by == "ann"
    entries = [entry for entry in await parts.entries() if entry[0] == "ann"]
    assert entries == [("ann", "permissions session", 200)]


async def test_what_ends_meanwhile(parts: Parts) -> None:
    """With the daemon: it is pending as before, and nothing more begins."""
    asked, other = await parts.ask(), await parts.ask(ApprovalKind.PERMISSIONS, {"may": []})
    await parts.work.accept(asked.id, OWNER)
    await parts.work.close()
    found = await parts.accounts.approvals.get(asked.id)
    assert found == asked
    assert not parts.work.is_working(found)
    with pytest.raises(Draining):
        await parts.work.accept(asked.id, OWNER)
    assert (await parts.work.accept(other.id, OWNER)).accepted


async def test_a_user_that_leaves_meanwhile(parts: Parts) -> None:
    """Takes the request along; nothing else comes of it."""
    asked = await parts.ask()
    await parts.work.accept(asked.id, OWNER)
    await parts.accounts.users.remove("ann")
    parts.loads.go.set()
    with pytest.raises(ApprovalNotFound):
        await parts.settled(asked.id)
    [(_, subject, status)] = await parts.entries()
    assert subject.startswith(f"user {parts.user} load ai/m: there is no request")
    assert status == 404


async def test_who_has_left_while_it_was_decided(parts: Parts) -> None:
    """A client that leaves takes no claim along."""
    asked = await parts.ask()
    task = spawn(parts.work.accept(asked.id, OWNER), name="accept")
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert (await parts.work.reject(asked.id, OTHER)).complete


def test_what_is_told_of_it() -> None:
    """Of an address nothing that is secret."""
    url = {"model": "https://host/m.gguf?signature=x"}
    asked = Approval("id", "user", ApprovalKind.DOWNLOAD, url, 0.0)
    assert described(asked) == "download https://host/m.gguf"
    tagged = {"model": "https://host/m.gguf", "tag": "ai/m:latest"}
    asked = Approval("id", "user", ApprovalKind.DOWNLOAD, tagged, 0.0)
    assert described(asked) == "download https://host/m.gguf as ai/m:latest"
    none = Approval("id", "user", ApprovalKind.PERMISSIONS, {"may": []}, 0.0)
    assert described(none) == "permissions none"
