"""Deciding what users have asked for, and doing what was accepted.

Whoever decides claims the request first, so that nothing is done twice and nothing is done that
somebody rejects in the same moment.  What takes long goes on by itself; the claim is in memory
alone: a daemon that ends meanwhile finds the request pending when it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import NamedTuple

from runnerd import tasks
from runnerd.access import Action, Principal, user_principal
from runnerd.access.approvals import Approval, ApprovalKind, ApprovalState, still_open
from runnerd.accounts.accounts import Accounts
from runnerd.accounts.approvals import not_found
from runnerd.accounts.audit import AuditEntry
from runnerd.api.admin.approval_followers import Followers
from runnerd.errors import Conflict, Draining, InternalError, RunnerdError
from runnerd.pulls import weblink

log = logging.getLogger(__name__)

Doing = Callable[[Approval, Principal], Awaitable[None]]
"""Does what a request says, for the owner who has accepted it."""

_ACCEPTED, _REJECTED = ApprovalState.ACCEPTED, ApprovalState.REJECTED
_WITHDRAWN = ApprovalState.WITHDRAWN


class _Claim(NamedTuple):
    who: str
    decision: ApprovalState


class ApprovalWork:
    """Owns the claims, the work under way and who follows it, until `close`."""

    def __init__(self, accounts: Accounts, doing: Mapping[ApprovalKind, Doing]) -> None:
        """`doing` has everything but permissions, which the database gives."""
        self._accounts = accounts
        self._approvals = accounts.approvals
        self._doing = doing
        self._claims: dict[str, _Claim] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self.followers = Followers(self._approvals)

    def is_working(self, approval: Approval) -> bool:
        """Whether a request was accepted and is being carried out."""
        claim = self._claims.get(approval.id)
        return not approval.complete and claim is not None and claim.decision is _ACCEPTED

    async def accept(self, id: str, principal: Principal) -> Approval:
        """Accept a request: permissions are given at once, everything else begins.

        Raises errors.Conflict where it was rejected, ApprovalNotFound, Draining.
        """
        who = self._accounts.called(principal.id)
        if self._is_claimed(id, _ACCEPTED):  # it will not be done twice
            approval = await self._approvals.get(id)
            permissions = approval.kind is ApprovalKind.PERMISSIONS
            return await self._approvals.accept(id, who) if permissions else approval
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._claim(id, _Claim(who, _ACCEPTED)))
            approval = await self._approvals.get(id)
            if not still_open(approval, _ACCEPTED):
                return approval
            if approval.kind is ApprovalKind.PERMISSIONS:
                return await self._approvals.accept(id, who)
            if self._closed:
                raise Draining("the daemon is going away; accept it again when it is back")
            task = tasks.spawn(
                self._carry_out(approval, principal, who, stack.pop_all()),
                name=f"approved {described(approval)}",
            )
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._approvals.tell(approval)
        return approval

    async def reject(self, id: str, principal: Principal, reason: str = "") -> Approval:
        """Reject a request.  Raises errors.Conflict where it was decided otherwise,
        ApprovalNotFound.
        """
        who = self._accounts.called(principal.id)
        with self._claimed(id, _Claim(who, _REJECTED)):
            return await self._approvals.reject(id, who, reason)

    async def withdraw(self, id: str, user_id: str) -> Approval:
        """End a request for the user with this id, whose it is, and note that in the audit.

        Raises errors.Conflict where it was decided or is being done, ApprovalNotFound.
        """
        principal = user_principal(user_id, "")
        who = self._accounts.called(principal.id)
        if (await self._approvals.get(id)).user_id != user_id:
            raise not_found(id)
        with self._claimed(id, _Claim(who, _WITHDRAWN)):
            approval, changed = await self._approvals.withdraw(id, user_id, who)
        if changed:
            about = described(approval)
            await self._accounts.audit.add(
                AuditEntry(time.time(), principal.id, who, "withdraw_request", "", about, 200)
            )
        return approval

    async def close(self) -> None:
        """End what is under way, whose requests are pending again, and all streams.  Idempotent."""
        self._closed = True
        self.followers.close()
        for task in tuple(self._tasks):
            await tasks.cancel_and_wait(task)

    def _is_claimed(self, id: str, decision: ApprovalState) -> bool:
        """Whether the same is being decided; raises errors.Conflict where it is the other."""
        claim = self._claims.get(id)
        if claim is not None and claim.decision is not decision:
            raise Conflict(f"{claim.who} has {claim.decision} this request just now")
        return claim is not None

    def _claimed(self, id: str, claim: _Claim) -> contextlib.AbstractContextManager[None]:
        """A claim, or none where another request has claimed just the same; raises
        errors.Conflict where it has claimed otherwise.
        """
        if self._is_claimed(id, claim.decision):
            return contextlib.nullcontext()
        return self._claim(id, claim)

    @contextlib.contextmanager
    def _claim(self, id: str, claim: _Claim) -> Iterator[None]:
        self._claims[id] = claim
        try:
            yield
        finally:
            del self._claims[id]

    async def _carry_out(
        self, approval: Approval, principal: Principal, who: str, claim: contextlib.ExitStack
    ) -> None:
        noted = None
        with claim:
            status, failure = await self._outcome(approval, principal, who)
            if failure:
                with contextlib.suppress(RunnerdError):  # then it is pending without a reason
                    noted = await self._approvals.note_failure(approval.id, failure)
        if failure:
            self._approvals.tell(noted or approval)
        name = self._accounts.called(user_principal(approval.user_id, "").id)
        about = f"{name} {described(approval)}: {failure or 'done'}"
        await self._accounts.audit.add(
            AuditEntry(time.time(), principal.id, who, Action.MANAGE_APPROVALS, "", about, status)
        )

    async def _outcome(self, approval: Approval, principal: Principal, who: str) -> tuple[int, str]:
        """Do it; a status as HTTP has them, and why it has failed."""
        try:
            await self._doing[approval.kind](approval, principal)
            await self._approvals.accept(approval.id, who)
        except RunnerdError as error:
            return error.status, error.message
        except Exception:
            log.exception("approval %s failed", approval.id)
            return InternalError.status, InternalError().message
        return 200, ""


def described(approval: Approval) -> str:
    """What is asked for, in one line, without what is secret in an address."""
    if approval.kind is ApprovalKind.PERMISSIONS:
        return f"{approval.kind} {','.join(approval.details['may']) or 'none'}"
    tag = approval.details.get("tag")
    called = f" as {tag}" if tag else ""
    return f"{approval.kind} {weblink.shown(approval.details['model'])}{called}"
