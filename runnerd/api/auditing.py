"""What of the control plane's requests goes into the audit: each that has changed something.

Requests that were refused have changed nothing and are left out: whoever is not allowed to do
anything could else push out what others did.  They are in the log.
"""

from __future__ import annotations

import asyncio
import time

from aiohttp import hdrs, web

from runnerd.access import Action, Principal
from runnerd.accounts.audit import AuditEntry
from runnerd.api.context import CONTEXT, DOCUMENT, NAMED, OUTCOME, SUBJECT, principal_of
from runnerd.api.routing import ACTIONS, Handler
from runnerd.errors import RunnerdError
from runnerd.pulls import weblink

CHANGES = frozenset({
    Action.LOAD_MODEL, Action.UNLOAD_MODEL, Action.CONFIGURE_MODEL, Action.DOWNLOAD_MODEL,
    Action.UPLOAD_MODEL, Action.CREATE_MODEL, Action.DELETE_MODEL, Action.MANAGE_BACKENDS,
    Action.MANAGE_USERS, Action.MANAGE_APPROVALS, Action.MANAGE_DATABASE, Action.CANCEL_REQUEST,
    Action.REGISTER,
})  # fmt: skip
"""Actions that change what others meet, or take a copy of it all."""

_READS = (hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS)
_LEFT = 499  # the status of a request whose client has left
_MEMBERS = ("name", "model", "models", "source", "from", "path", "destination", "target", "tag")
_NAMES = 5  # of a list, how many are told


@web.middleware
async def audited(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Carry a request out, and add an entry to the audit if it has changed something."""
    action = request.app[ACTIONS].get(request.match_info.route)
    if action not in CHANGES or request.method in _READS:
        return await handler(request)
    assert action is not None
    try:
        principal = principal_of(request)
    except RunnerdError:  # which the handler is about to tell
        return await handler(request)
    try:
        response = await handler(request)
    except asyncio.CancelledError:  # it may have done all of it
        principal = request.get(NAMED, principal)
        await _add(request, principal, action, request.get(OUTCOME, _LEFT))
        raise
    status: int = request.get(OUTCOME, response.status)
    if not 400 <= status < 500:
        await _add(request, request.get(NAMED, principal), action, status)
    return response


async def _add(request: web.Request, principal: Principal, action: Action, status: int) -> None:
    context = request.app[CONTEXT]
    await context.accounts.audit.add(
        AuditEntry(
            time.time(),
            principal.id,
            context.accounts.called(principal.id),
            action,
            route_of(request),
            subject(request),
            status,
        )
    )


def route_of(request: web.Request) -> str:
    """The method of a request, and the pattern that its path follows."""
    resource = request.match_info.route.resource
    return f"{request.method} {'' if resource is None else resource.canonical}"


def subject(request: web.Request) -> str:
    """What a request was about: what its handler says, else the names in its path and query, else
    those in its body.
    """
    said: str | None = request.get(SUBJECT)
    if said is not None:
        return said
    found = [value for name, value in request.match_info.items() if name != "backend"]
    found += [value for name, value in request.query.items() if name in ("repo", "tag")]
    document = request.get(DOCUMENT, {})
    if not found:
        found = [text for name in _MEMBERS for text in _texts(document.get(name))]
    return " ".join(weblink.shown(text) for text in found)


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [item for item in value if isinstance(item, str)][:_NAMES]
    return []
