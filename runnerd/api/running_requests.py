"""`/runnerd/requests`: what runs now, and ending it."""

from __future__ import annotations

from aiohttp import web

from runnerd.access import Action
from runnerd.api.context import CONTEXT, SUBJECT, json_response, principal_of
from runnerd.api.request_fields import request_json, running_of
from runnerd.api.routing import Routes
from runnerd.errors import NotFound, RequestCancelled

ROUTES = Routes()


@ROUTES.get("/runnerd/requests", Action.VIEW_REQUESTS)
async def running(request: web.Request) -> web.Response:
    """The requests that run or wait, the oldest first: one's own, and for owners all."""
    return json_response([request_json(request, each.record) for each in running_of(request)])


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
