"""Who follows approvals: what each is told, and how many there may be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from runnerd.access.approvals import Approval, ApprovalKind, ApprovalState
from runnerd.api.admin import approval_followers
from runnerd.api.admin.approval_followers import Followers
from runnerd.errors import Overloaded

PENDING = Approval("id", "user", ApprovalKind.LOAD, {"model": "ai/m"}, 1.0)


class Told:
    """Stands for the store: tells whoever has subscribed."""

    def __init__(self) -> None:
        self.tell: Callable[[Approval], None]

    def subscribe(self, listener: Callable[[Approval], None]) -> None:
        self.tell = listener


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def followers(told: Told) -> Followers:
    return Followers(cast(Any, told))


async def test_the_newest_state(told: Told, followers: Followers) -> None:
    """Of each request is told, in the order of the changes."""
    other, accepted = replace(PENDING, id="other"), replace(PENDING, state=ApprovalState.ACCEPTED)
    with followers.joined("a") as follower:
        for approval in (PENDING, other, accepted):
            told.tell(approval)
        assert await follower.news() == [other, accepted]


async def test_a_sign_of_life(followers: Followers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Comes where nothing happens for a while."""
    monkeypatch.setattr(approval_followers, "_HEARTBEAT", 0.0)
    with followers.joined("a") as follower:
        assert await follower.news() == []
        assert not follower.ended


async def test_one_that_does_not_read(told: Told, followers: Followers) -> None:
    """Is ended when too much waits for it; the others go on."""
    with followers.joined("a") as slow, followers.joined("b") as quick:
        for number in range(1001):
            told.tell(replace(PENDING, id=str(number)))
            assert len(await quick.news()) == 1
        assert slow.ended
        assert not quick.ended


def test_how_many_of_one(followers: Followers) -> None:
    """Eight; others are not concerned, and one that has left makes room."""
    joined = [followers.joined("a") for _ in range(8)]
    for each in joined:
        each.__enter__()
    with pytest.raises(Overloaded), followers.joined("a"):
        pass
    with followers.joined("b"):
        pass
    for each in joined:
        each.__exit__(None, None, None)
    with followers.joined("a"):
        pass


async def test_the_end(followers: Followers) -> None:
    """Ends those that follow and those that come."""
    with followers.joined("a") as follower:
        followers.close()
        assert await follower.news() == []
        assert follower.ended
    with followers.joined("a") as late:
        assert late.ended
