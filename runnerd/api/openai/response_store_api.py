"""GET and DELETE /v1/responses/{id}: answers that were kept."""

from __future__ import annotations

from aiohttp import web

from runnerd.access import Action
from runnerd.api.context import CONTEXT, json_response, principal_of
from runnerd.api.routing import Routes

ROUTES = Routes()
_PREFIX = "/{prefix:(?:(?:openai/|engines/(?:llama\\.cpp/)?)?v1/)?}responses/{id}"


@ROUTES.get(_PREFIX, Action.USE_RESPONSES)
async def retrieve(request: web.Request) -> web.Response:
    """Return a kept response."""
    owner = principal_of(request).id
    response = request.app[CONTEXT].response_store.response(owner, request.match_info["id"])
    return web.Response(body=response, content_type="application/json")


@ROUTES.delete(_PREFIX, Action.USE_RESPONSES)
async def delete(request: web.Request) -> web.Response:
    """Forget a kept response."""
    id = request.match_info["id"]
    request.app[CONTEXT].response_store.forget(principal_of(request).id, id)
    return json_response({"id": id, "object": "response", "deleted": True})
