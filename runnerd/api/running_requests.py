"""`/runnerd/requests`: what runs now and what was asked last, and ending it."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter

from aiohttp import web

from runnerd.access import Action
from runnerd.api.context import CONTEXT, SUBJECT, flag, json_response, principal_of
from runnerd.api.event_views import may
from runnerd.api.request_fields import may_see, request_json, requests_json, running_of
from runnerd.api.routing import Routes
from runnerd.errors import NotFound, RequestCancelled
from runnerd.relay.records import RequestRecord

ROUTES = Routes()


@ROUTES.get("/runnerd/requests", Action.VIEW_REQUESTS)
async def running(request: web.Request) -> web.Response:
    """The requests that run or wait, the oldest first: one's own, and for owners all.

    With `ended` also the newest of those that have ended.  What was asked and answered is among it
    where an owner has that kept (`capture_requests`), for who may see it.
    """
    if not flag(request, "ended"):
        return json_response(requests_json(request, (each.record for each in running_of(request))))
    kept = [each for each in request.app[CONTEXT].records.list() if may_see(request, each)]
    records = _all_of((each.record for each in running_of(request)), kept)
    shown = requests_json(request, records)
    if may(request, Action.VIEW_CONTENT):
        for record, told in zip(records, shown, strict=True):
            if record.content is not None and record.duration is not None:
                told["request"] = record.content.request_text()
                told["response"] = record.content.response_text()
    return json_response(shown)


def _all_of(running: Iterable[RequestRecord], kept: list[RequestRecord]) -> list[RequestRecord]:
    """Records, the oldest first: those that are kept, and what runs for so long that it is not."""
    known = {each.id for each in kept}
    older = [each for each in running if each.id not in known]
    return sorted([*older, *kept], key=attrgetter("clock")) if older else kept


@ROUTES.delete("/runnerd/requests/{id}", Action.CANCEL_REQUEST)
async def cancel(request: web.Request) -> web.Response:
    """End a request that runs or waits; its client is told by whom.

    An id that clients have given to several requests ends them all.
    """
    id = request.match_info["id"]
    found = [each for each in running_of(request) if each.record.id == id]
    if not found:
        raise NotFound(f"no request {id[:100]!r} runs; `runnerd requests --running` lists them")
    context = request.app[CONTEXT]
    own = principal_of(request).id
    who = context.accounts.called(own)
    ended = []
    for exchange in found:
        record = exchange.record
        by = "at your own word" if own and record.principal == own else f"by {who}"
        exchange.fail(RequestCancelled(f"this request was cancelled {by}"))
        ended.append(request_json(request, record))
    request[SUBJECT] = f"{id} {ended[0]['model']} of {ended[0]['user']}"
    return json_response(ended)
