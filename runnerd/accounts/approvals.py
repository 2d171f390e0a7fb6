"""What users have asked the owner for: kept in the database, and told to whoever follows.

Each decision is one transaction that looks at the state first, so of two owners who decide at once
one wins and the other is told.  What was decided stays so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple
from uuid import uuid4

from runnerd.access.approvals import (
    MOST_AN_HOUR,
    MOST_PENDING,
    Approval,
    ApprovalKind,
    ApprovalState,
    still_open,
)
from runnerd.access.permissions import Permission
from runnerd.accounts import approval_rows as rows
from runnerd.accounts import user_rows
from runnerd.accounts.users import UserStore
from runnerd.database import Connection, Database, Duplicate
from runnerd.errors import ApprovalNotFound, LimitReached, UserNotFound

_MOST_LETTERS = 500

Listener = Callable[[Approval], None]


class Outcome(NamedTuple):
    """A request, and whether it is new or has changed: what was asked or decided before just the
    same is left as it is.
    """

    approval: Approval
    changed: bool


class ApprovalStore:
    """Owns the requests.

    Methods that change something return once it is on the disk, and raise errors.DatabaseFailure,
    StorageFailure or InsufficientStorage where nothing has changed.
    """

    def __init__(
        self, database: Database, users: UserStore, *, clock: Callable[[], float] = time.time
    ) -> None:
        """`clock` says Unix time."""
        self._database = database
        self._users = users
        self._clock = clock
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> None:
        """Call `listener`, on the event loop, with each request that comes or changes."""
        self._listeners.append(listener)

    def tell(self, approval: Approval) -> None:
        """Tell who follows that there is news of a request."""
        for listener in self._listeners:
            listener(approval)

    async def ask(
        self, user_id: str, kind: ApprovalKind, details: Mapping[str, Any], reason: str = ""
    ) -> Outcome:
        """Keep a request of a user.  Raises errors.LimitReached, UserNotFound."""
        approval = Approval(str(uuid4()), user_id, kind, details, self._clock(), reason)

        def work(connection: Connection) -> Outcome:
            if (found := rows.same(connection, approval)) is not None:
                return Outcome(found, changed=False)
            _check_room(connection, approval)
            try:
                rows.insert(connection, approval)
            except Duplicate as error:
                raise UserNotFound("there is no such user any more") from error
            return Outcome(approval, changed=True)

        return await self._database.write(work, then=self._tell)

    async def approvals(
        self, *, user_id: str | None = None, state: ApprovalState | None = None, limit: int
    ) -> list[Approval]:
        """Requests of a user or of all: pending ones first, then the newest."""
        return await self._database.read(
            lambda connection: rows.select(connection, user_id, state, limit)
        )

    async def get(self, id: str) -> Approval:
        """The request with this id.  Raises errors.ApprovalNotFound."""
        return await self._database.read(lambda connection: _found(connection, id))

    async def accept(self, id: str, by: str) -> Approval:
        """Note that a request was accepted and carried out; permissions are given with that.

        Raises errors.Conflict, ApprovalNotFound.
        """

        def work(connection: Connection) -> Outcome:
            outcome = self._decide(connection, id, ApprovalState.ACCEPTED, by)
            if outcome.changed and outcome.approval.kind is ApprovalKind.PERMISSIONS:
                _give(connection, outcome.approval)
            return outcome

        approval = await self.get(id)
        change = self._database.write
        if approval.kind is ApprovalKind.PERMISSIONS:
            change = self._users.change  # which brings it into force
        return (await change(work, then=self._tell)).approval

    async def reject(self, id: str, by: str, reason: str = "") -> Approval:
        """Reject a request.  Raises errors.Conflict, ApprovalNotFound."""
        outcome = await self._database.write(
            lambda connection: self._decide(connection, id, ApprovalState.REJECTED, by, reason),
            then=self._tell,
        )
        return outcome.approval

    async def withdraw(self, id: str, user_id: str, by: str) -> Outcome:
        """End a request of a user, who does not want it any more.

        Raises errors.Conflict where it was decided, ApprovalNotFound also where it is another's.
        """

        def work(connection: Connection) -> Outcome:
            if _found(connection, id).user_id != user_id:
                raise not_found(id)
            return self._decide(connection, id, ApprovalState.WITHDRAWN, by)

        return await self._database.write(work, then=self._tell)

    async def note_failure(self, id: str, failure: str) -> Approval:
        """Note why a request that was accepted could not be carried out: it stays pending.

        Whoever follows is not told yet.  Raises errors.ApprovalNotFound.
        """

        def work(connection: Connection) -> Approval:
            found = _found(connection, id)
            if not found.complete:
                found = replace(found, failure=" ".join(failure.split())[:_MOST_LETTERS])
                rows.update(connection, found)
            return found

        return await self._database.write(work)

    def _decide(
        self, connection: Connection, id: str, state: ApprovalState, by: str, reason: str = ""
    ) -> Outcome:
        found = _found(connection, id)
        if not still_open(found, state):
            return Outcome(found, changed=False)
        decided = replace(
            found,
            state=state,
            failure=None,
            decided=self._clock(),
            decided_by=by,
            decision_reason=reason,
        )
        rows.update(connection, decided)
        return Outcome(decided, changed=True)

    def _tell(self, outcome: Outcome) -> None:
        if outcome.changed:
            self.tell(outcome.approval)


def _check_room(connection: Connection, approval: Approval) -> None:
    """Raise errors.LimitReached where too many of a user wait, or came lately."""
    if rows.count_pending(connection, approval.user_id) >= MOST_PENDING:
        raise LimitReached(
            f"{MOST_PENDING} of your requests wait for the owner's decision, which is the most"
            " (pending_requests); withdraw one with `runnerd approvals withdraw ID`",
            limit="pending_requests",
            retry_after=rows.HOUR,
        )
    if rows.count_since(connection, approval.user_id, approval.created - rows.HOUR) >= MOST_AN_HOUR:
        raise LimitReached(
            f"you have made {MOST_AN_HOUR} requests to the owner within an hour, which is the most"
            " (requests_per_hour)",
            limit="requests_per_hour",
            retry_after=rows.HOUR,
        )


def _give(connection: Connection, approval: Approval) -> None:
    """Let a user have the permissions that were asked for, in the place of those before."""
    user = user_rows.find_user(connection, approval.user_id)
    assert user is not None  # its requests go with it
    may = frozenset(Permission(name) for name in approval.details["may"])
    user_rows.update_user(connection, replace(user, permissions=may))


def not_found(id: str) -> ApprovalNotFound:
    """There is no such request, or none for who asks."""
    return ApprovalNotFound(f"there is no request {id[:100]!r}; `runnerd approvals` shows all")


def _found(connection: Connection, id: str) -> Approval:
    found = rows.find(connection, id)
    if found is None:
        raise not_found(id)
    return found
