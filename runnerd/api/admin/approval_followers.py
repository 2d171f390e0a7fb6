"""Who follows approvals as they come and change.

A follower is told of each that changes, only its newest state; one that does not read is ended
when too many wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator

from runnerd.access.approvals import Approval
from runnerd.accounts.approvals import ApprovalStore
from runnerd.errors import Overloaded

_HEARTBEAT = 15.0  # seconds
_MOST_WAITING = 1000  # requests that one follower has not read of
_MOST_EACH = 8  # followers of one principal


class Follower:
    """One follower, and what it has not been told yet.  `ended`: there will be no more."""

    def __init__(self) -> None:
        self._news: dict[str, Approval] = {}
        self._woken = asyncio.Event()
        self.ended = False

    def hear(self, approval: Approval) -> None:
        """There is news of a request."""
        self._news.pop(approval.id, None)
        self._news[approval.id] = approval
        if len(self._news) > _MOST_WAITING:
            self.ended = True
        self._woken.set()

    def end(self) -> None:
        """Tell it nothing more."""
        self.ended = True
        self._woken.set()

    async def news(self) -> list[Approval]:
        """What is new, after a wait for it; nothing when it is time for a sign of life."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_HEARTBEAT):
                await self._woken.wait()
        self._woken.clear()
        news, self._news = self._news, {}
        return list(news.values())


class Followers:
    """All followers, until `close`."""

    def __init__(self, store: ApprovalStore) -> None:
        self._followers: set[Follower] = set()
        self._by_principal: Counter[str] = Counter()
        self._closed = False
        store.subscribe(self._hear)

    @contextlib.contextmanager
    def joined(self, principal: str) -> Iterator[Follower]:
        """One more, of the principal with this id.  Raises errors.Overloaded."""
        if self._by_principal[principal] >= _MOST_EACH:
            raise Overloaded(
                f"{_MOST_EACH} streams of yours follow requests already; end one", retry_after=60
            )
        follower = Follower()
        follower.ended = self._closed
        self._by_principal[principal] += 1
        self._followers.add(follower)
        try:
            yield follower
        finally:
            self._followers.remove(follower)
            self._by_principal[principal] -= 1
            if not self._by_principal[principal]:
                del self._by_principal[principal]

    def close(self) -> None:
        """End them all.  Idempotent."""
        self._closed = True
        for follower in self._followers:
            follower.end()

    def _hear(self, approval: Approval) -> None:
        for follower in self._followers:
            follower.hear(approval)
