"""GET and DELETE /v1/responses/{id}: responses that were kept, and what they were asked with."""

from __future__ import annotations

from aiohttp import web

from runnerd.access import Action
from runnerd.api.context import CONTEXT, json_response, principal_of
from runnerd.api.openai.kept_items import page
from runnerd.api.routing import Routes

ROUTES = Routes()
_PREFIX = "/{prefix:(?:(?:openai/|engines/(?:llama\\.cpp/)?)?v1/)?}responses/{id}"


@ROUTES.get(_PREFIX, Action.USE_RESPONSES)
async def retrieve(request: web.Request) -> web.Response:
    """A kept response, as it was told."""
    store, owner = request.app[CONTEXT].kept_responses, principal_of(request).id
    return json_response(await store.response(owner, request.match_info["id"]))


@ROUTES.get(_PREFIX + "/input_items", Action.USE_RESPONSES)
async def list_input_items(request: web.Request) -> web.Response:
    """All items that a kept response was asked with, the newest first unless asked otherwise."""
    store, owner = request.app[CONTEXT].kept_responses, principal_of(request).id
    return json_response(page(request, await store.input(owner, request.match_info["id"])))


@ROUTES.delete(_PREFIX, Action.USE_RESPONSES)
async def delete(request: web.Request) -> web.Response:
    """Forget a kept response."""
    id = request.match_info["id"]
    await request.app[CONTEXT].kept_responses.forget(principal_of(request).id, id)
    return json_response({"id": id, "object": "response", "deleted": True})
