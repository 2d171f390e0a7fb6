"""What the control plane's handlers work with, and how they read a request."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import msgspec
from aiohttp import web

from runnerd.access import NOBODY, Action, Policy, Principal
from runnerd.accounts.accounts import Accounts
from runnerd.api.admin.approval_work import ApprovalWork
from runnerd.api.page_requests import check_page
from runnerd.api.protollm.desks import Desk
from runnerd.backends.interface import Backend
from runnerd.config import Settings
from runnerd.errors import ClientError, PayloadTooLarge, Unauthorized
from runnerd.jobs.service import Jobs
from runnerd.llms.parts import LLMParts
from runnerd.models.catalog import Catalog
from runnerd.models.modelpack_writing import Form
from runnerd.models.store import Store
from runnerd.observability.observability import Observability
from runnerd.pulls.outlining import Outlining
from runnerd.pulls.pulling import Pulls
from runnerd.relay.body import json_object
from runnerd.relay.control_plane_bridge import PRINCIPAL, BorrowedTransport
from runnerd.relay.exchanges import Exchanges
from runnerd.relay.records import Records
from runnerd.relay.routes import Route
from runnerd.relay.visible_models import VisibleModels
from runnerd.sessions import Sessions
from runnerd.sessions.conversations import Conversations
from runnerd.sessions.kept_responses import KeptResponses
from runnerd.supervisor import Supervisor
from runnerd.supervisor.drafts import Drafts

_JSON_LIMIT = 1 * 2**20  # bytes of a control request's JSON body


@dataclass(frozen=True, slots=True)
class Context:
    """The daemon's parts, as the handlers see them."""

    settings: Settings
    store: Store
    backends: Mapping[str, Backend]
    supervisor: Supervisor
    records: Records
    log_dir: Path
    pulls: Pulls
    kept_responses: KeptResponses
    conversations: Conversations
    policy: Policy
    exchanges: Exchanges
    accounts: Accounts
    approvals: ApprovalWork
    observability: Observability
    sessions: Sessions
    jobs: Jobs
    llms: LLMParts
    prompts: Desk
    outlining: Outlining
    drafts: Drafts


CONTEXT = web.AppKey("context", Context)
INFERENCE = web.AppKey("inference", Mapping[str, Route])
"""The dialects' routes, which belong to the relay when they are asked with POST."""
DOCUMENT = web.RequestKey("document", dict[str, Any])
"""A request's JSON body, once a handler has read it; the audit looks there."""
OUTCOME = web.RequestKey("outcome", int)
"""The status of what failed after its response had begun, for the audit."""
NAMED = web.RequestKey("named", Principal)
"""Who makes a request whose credential is in its body, once that was read."""
SUBJECT = web.RequestKey("subject", str)
"""What a request was about, for the audit, where its handler says it."""


def principal_of(request: web.Request) -> Principal:
    """Who makes a request; nobody where the connection has gone.

    Raises errors.Unauthorized for a credential that does not count.
    """
    transport = request.transport
    principal = None if transport is None else transport.get_extra_info(PRINCIPAL)
    return NOBODY if principal is None else principal


def name_principal(request: web.Request, principal: Principal) -> None:
    """Note the user whose credential a request's body shows: from now on as if its head had shown
    it.  Raises errors.Unauthorized where the head shows another one's.
    """
    transport = request.transport
    if isinstance(transport, BorrowedTransport) and (asked := transport.request) is not None:
        if asked.user is not None and asked.user.user_id != principal.user_id:
            raise Unauthorized("the request shows the keys of two users; send one")
        asked.user = principal
    request[NAMED] = principal


def authorize(request: web.Request, action: Action) -> None:
    """Ask the policy whether who makes a request may do something, now and as long as it is being
    answered.  Raises errors.Unauthorized, PermissionMissing, Forbidden.

    The middleware does that for each route's own action; a handler does it where it turns out to
    do something else.
    """
    principal, policy = principal_of(request), request.app[CONTEXT].policy
    policy.check(principal, action)
    check_page(request, action, principal)
    if isinstance(request.transport, BorrowedTransport):
        request.transport.conditions.append(lambda who: policy.check(who, action))


def is_owner(request: web.Request) -> bool:
    """Whether a request is an owner's, or that of somebody who may do everything."""
    return request.app[CONTEXT].policy.sees_everything(principal_of(request))


def models_of(request: web.Request) -> Catalog:
    """The models that there are for who makes a request."""
    context = request.app[CONTEXT]
    return VisibleModels(context.store, context.policy).of(principal_of(request))


async def read_body(request: web.Request, most: int = _JSON_LIMIT) -> bytes:
    """The body of a control request, all of it.  Raises errors.PayloadTooLarge."""
    pieces, size = [], 0
    while size <= most and (piece := await request.content.read(_JSON_LIMIT + 1)):
        pieces.append(piece)
        size += len(piece)
    if size > most:
        raise PayloadTooLarge(f"the request body exceeds {most} bytes; send less at once")
    return b"".join(pieces)


async def json_body(request: web.Request, most: int = _JSON_LIMIT) -> dict[str, Any]:
    """Return the request's JSON object.  Raises errors.ClientError, PayloadTooLarge."""
    document = json_object(await read_body(request, most))
    request[DOCUMENT] = document
    return document


def text_field(document: dict[str, Any], name: str, *, required: bool = False) -> str | None:
    """Return a string member.  Raises errors.ClientError for a wrong or missing one."""
    value = document.get(name)
    if value is None or value == "":
        if required:
            raise ClientError(f"{name} is required", param=name)
        return None
    if not isinstance(value, str):
        raise ClientError(f"{name} must be a string", param=name)
    return value


def form_of(request: web.Request) -> Form:
    """How a model is to be written, by the query's `format`."""
    form = request.query.get("format") or "docker"
    if form not in get_args(Form):
        raise ClientError("format must be docker or modelpack", param="format")
    return cast(Form, form)


def flag(request: web.Request, name: str) -> bool:
    """Return a boolean query parameter; `?force` without a value means yes."""
    value = request.query.get(name)
    if value is None:
        return False
    if value.lower() in ("", "1", "t", "true"):
        return True
    if value.lower() in ("0", "f", "false"):
        return False
    raise ClientError(f"{name} must be true or false", param=name)


def encode(document: object) -> bytes:
    """Return a document as JSON."""
    return msgspec.json.encode(document)


def json_response(document: object, *, status: int = 200) -> web.Response:
    """Return a JSON response."""
    return web.Response(body=encode(document), status=status, content_type="application/json")


def timestamp(seconds: float) -> str:
    """Return Unix time as RFC 3339 in UTC, to the millisecond."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
