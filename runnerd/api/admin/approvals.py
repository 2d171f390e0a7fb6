"""`/runnerd/approvals`: what users ask the owner for, and what the owner says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from runnerd import sse
from runnerd.access import Action
from runnerd.access.approvals import Approval
from runnerd.accounts.approvals import not_found
from runnerd.api.admin import approval_fields as said
from runnerd.api.admin.approval_work import described
from runnerd.api.admin.asking_owner import ask_owner, check_can_ask, needs_key
from runnerd.api.admin.counts import count_of
from runnerd.api.admin.users import find
from runnerd.api.context import (
    CONTEXT,
    SUBJECT,
    authorize,
    encode,
    flag,
    is_owner,
    json_body,
    json_response,
    principal_of,
)
from runnerd.api.routing import Routes
from runnerd.errors import ClientError, RunnerdError

ROUTES = Routes()

_USUAL, _MOST = 100, 1000


@ROUTES.get("/runnerd/approvals", Action.USE_ACCOUNT)
async def list_approvals(request: web.Request) -> web.StreamResponse:
    """One's own requests, and for owners all; those that are pending first, then the newest.

    `state` names one, `user` whose, `limit` how many; `follow` goes on with what changes, as
    server-sent events.
    """
    user = request.query.get("user")
    whose = _whose(request)
    if whose is None and user is not None:
        whose = find(request, user).id
    state, limit = said.state_of(request.query.get("state")), _limit(request)

    async def there() -> list[Approval]:
        store = request.app[CONTEXT].accounts.approvals
        return await store.approvals(user_id=whose, state=state, limit=limit)

    if flag(request, "follow") and request.method == "GET":
        return await _follow(request, whose, there)
    return json_response([said.approval_json(request, approval) for approval in await there()])


async def _follow(
    request: web.Request, whose: str | None, there: Callable[[], Awaitable[list[Approval]]]
) -> web.StreamResponse:
    """Tell what there is and then what changes, whatever its state, until the client leaves, the
    daemon ends, or who asks may not see it any more.
    """
    followers = request.app[CONTEXT].approvals.followers
    with followers.joined(principal_of(request).id) as follower:
        found = await there()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        while not follower.ended:
            found = [each for each in found if whose in (None, each.user_id)]
            if not all(_may_see(request, approval) for approval in found):
                break
            for approval in found:
                data = encode(said.approval_json(request, approval))
                await response.write(sse.encoded(data, "approval"))
            if not found:
                await response.write(sse.comment("nothing new"))
            found = await follower.news()
        await response.write_eof()
        return response


def _may_see(request: web.Request, approval: Approval) -> bool:
    """Whether who asks may still see a request."""
    try:
        return is_owner(request) or principal_of(request).user_id == approval.user_id
    except RunnerdError:  # the key is not valid any more
        return False


@ROUTES.post("/runnerd/approvals", Action.USE_ACCOUNT)
async def ask(request: web.Request) -> web.Response:
    """Ask for something; who has asked for the same and still waits gets that request (200)."""
    document = await json_body(request)
    kind = said.kind_of(document)
    check_can_ask(request)
    details, reason = said.details_of(request, kind, document), said.reason_of(document)
    outcome = await ask_owner(request, kind, details, reason)
    shown = said.approval_json(request, outcome.approval)
    return json_response(shown, status=201 if outcome.changed else 200)


@ROUTES.get("/runnerd/approvals/{id}", Action.USE_ACCOUNT)
async def show_approval(request: web.Request) -> web.Response:
    """One request; somebody else's is as unknown as one that there never was."""
    approval = await _find(request, _whose(request))
    return json_response(said.approval_json(request, approval))


@ROUTES.delete("/runnerd/approvals/{id}", Action.USE_ACCOUNT)
async def withdraw(request: web.Request) -> web.Response:
    """End one's own request, as long as nobody has decided it; somebody else's is as unknown."""
    if (user_id := principal_of(request).user_id) is None:
        if is_owner(request):
            raise ClientError("an owner rejects a request; who has asked withdraws it")
        raise needs_key()
    approval = await request.app[CONTEXT].approvals.withdraw(request.match_info["id"], user_id)
    return json_response(said.approval_json(request, approval))


@ROUTES.post("/runnerd/approvals/{id}/accept", Action.MANAGE_APPROVALS)
async def accept(request: web.Request) -> web.Response:
    """Accept a request; 202 where doing it has begun and goes on."""
    _says_what(request, await _find(request, None))
    work = request.app[CONTEXT].approvals
    approval = await work.accept(request.match_info["id"], principal_of(request))
    status = 202 if work.is_working(approval) else 200
    return json_response(said.approval_json(request, approval), status=status)


@ROUTES.post("/runnerd/approvals/{id}/reject", Action.MANAGE_APPROVALS)
async def reject(request: web.Request) -> web.Response:
    """Reject a request, for a `reason` that the user is shown."""
    found = await _find(request, None)
    reason = await said.decision_reason_of(request)
    _says_what(request, found, reason)
    work = request.app[CONTEXT].approvals
    approval = await work.reject(request.match_info["id"], principal_of(request), reason)
    return json_response(said.approval_json(request, approval))


async def _find(request: web.Request, whose: str | None) -> Approval:
    id = request.match_info["id"]
    approval = await request.app[CONTEXT].accounts.approvals.get(id)
    if whose is not None and whose != approval.user_id:
        raise not_found(id)
    return approval


def _says_what(request: web.Request, approval: Approval, reason: str = "") -> None:
    """Let the audit tell what is decided, and why."""
    user = said.approval_json(request, approval)["user"]
    because = f": {reason}" if reason else ""
    request[SUBJECT] = f"{user} {described(approval)} {approval.id}{because}"


def _whose(request: web.Request) -> str | None:
    """The id of the user whose requests there are for who asks; None: all users'.

    Raises errors.Unauthorized for who is neither an owner nor a user.
    """
    if is_owner(request):
        authorize(request, Action.MANAGE_APPROVALS)  # it is not for pages that the owner looks at
        return None
    if (user_id := principal_of(request).user_id) is None:
        raise needs_key()
    return user_id


def _limit(request: web.Request) -> int:
    return count_of(request, "limit", usual=_USUAL, most=_MOST)
