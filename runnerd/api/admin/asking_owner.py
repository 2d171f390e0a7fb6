"""Asking the owner for something, in whichever API: kept, and noted in the audit."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from runnerd.access.approvals import ApprovalKind
from runnerd.accounts.approvals import Outcome
from runnerd.accounts.audit import AuditEntry
from runnerd.api.admin.approval_work import described
from runnerd.api.auditing import route_of
from runnerd.api.context import CONTEXT, is_owner, principal_of
from runnerd.errors import ClientError, Unauthorized


def check_can_ask(request: web.Request) -> str:
    """The id of the user that a request is of.  Raises errors.ClientError, Unauthorized for who is
    none.
    """
    user_id = principal_of(request).user_id
    if user_id is None:
        if is_owner(request):
            raise ClientError("who may do everything has nobody to ask; do it")
        raise needs_key()
    return user_id


async def ask_owner(
    request: web.Request, kind: ApprovalKind, details: Mapping[str, Any], reason: str
) -> Outcome:
    """Keep what a user asks for; who has asked for the same and still waits gets that request.

    Raises errors.ClientError, Unauthorized, LimitReached.
    """
    context, principal = request.app[CONTEXT], principal_of(request)
    outcome = await context.accounts.approvals.ask(check_can_ask(request), kind, details, reason)
    if outcome.changed:
        who = context.accounts.called(principal.id)
        action, about = f"request_{kind}", described(outcome.approval)
        await context.accounts.audit.add(
            AuditEntry(time.time(), principal.id, who, action, route_of(request), about, 201)
        )
    return outcome


def needs_key() -> Unauthorized:
    """Who has no key cannot ask."""
    return Unauthorized(
        "requests to the owner are a user's, so this takes a key (`Authorization: Bearer KEY`,"
        " RUNNERD_KEY)"
    )
