"""`/v1/conversations`: lists of items that responses go on from, as OpenAI has them."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from runnerd.access import Action
from runnerd.api.context import CONTEXT, json_body, json_response, principal_of
from runnerd.api.openai.items import engine_items
from runnerd.api.openai.kept_items import Item, listed, page, shown, with_ids
from runnerd.api.routing import Routes
from runnerd.errors import ClientError
from runnerd.sessions.conversation_rows import Row
from runnerd.sessions.conversations import Conversations, item_not_found

ROUTES = Routes()
_PREFIX = "/{prefix:(?:(?:openai/|engines/(?:llama\\.cpp/)?)?v1/)?}conversations"
_MOST_ITEMS = 20  # that are added at once
_MOST_PAIRS, _KEY_LETTERS, _VALUE_LETTERS = 16, 64, 512


@ROUTES.post(_PREFIX, Action.USE_RESPONSES)
async def create(request: web.Request) -> web.Response:
    """Begin a conversation."""
    document = await json_body(request) if request.body_exists else {}
    items = document.get("items")
    given = [] if items is None else _items(items)
    row = await _conversations(request).create(_owner(request), given, _metadata(document))
    return json_response(_told(row))


@ROUTES.get(_PREFIX + "/{id}", Action.USE_RESPONSES)
async def retrieve(request: web.Request) -> web.Response:
    """A conversation, without its items."""
    return json_response(_told(await _conversations(request).get(_owner(request), _id(request))))


@ROUTES.post(_PREFIX + "/{id}", Action.USE_RESPONSES)
async def update(request: web.Request) -> web.Response:
    """Replace its metadata."""
    metadata = _metadata(await json_body(request))
    row = await _conversations(request).update(_owner(request), _id(request), metadata)
    return json_response(_told(row))


@ROUTES.delete(_PREFIX + "/{id}", Action.USE_RESPONSES)
async def delete(request: web.Request) -> web.Response:
    """Remove it, and its items."""
    await _conversations(request).delete(_owner(request), _id(request))
    return json_response({"id": _id(request), "object": "conversation.deleted", "deleted": True})


@ROUTES.get(_PREFIX + "/{id}/items", Action.USE_RESPONSES)
async def list_items(request: web.Request) -> web.Response:
    """Its items, the newest first unless it is asked otherwise."""
    items = await _conversations(request).items(_owner(request), _id(request))
    return json_response(page(request, items))


@ROUTES.post(_PREFIX + "/{id}/items", Action.USE_RESPONSES)
async def create_items(request: web.Request) -> web.Response:
    """Add items behind the others."""
    items = _items((await json_body(request)).get("items"))
    await _conversations(request).add(_owner(request), _id(request), items)
    return json_response(listed(items))


@ROUTES.get(_PREFIX + "/{id}/items/{item}", Action.USE_RESPONSES)
async def retrieve_item(request: web.Request) -> web.Response:
    """One of its items."""
    items = await _conversations(request).items(_owner(request), _id(request))
    wanted = request.match_info["item"]
    found = next((item for item in reversed(items) if item["id"] == wanted), None)
    if found is None:
        raise item_not_found(wanted)
    return json_response(shown(found))


@ROUTES.delete(_PREFIX + "/{id}/items/{item}", Action.USE_RESPONSES)
async def delete_item(request: web.Request) -> web.Response:
    """Remove one of its items."""
    row = await _conversations(request).delete_item(
        _owner(request), _id(request), request.match_info["item"]
    )
    return json_response(_told(row))


def _conversations(request: web.Request) -> Conversations:
    return request.app[CONTEXT].conversations


def _owner(request: web.Request) -> str:
    return principal_of(request).id


def _id(request: web.Request) -> str:
    return request.match_info["id"]


def _told(row: Row) -> dict[str, Any]:
    return {
        "id": row.id,
        "object": "conversation",
        "created_at": int(row.created),
        "metadata": row.metadata,
    }


def _items(given: object) -> list[Item]:
    """Items to be added, in the forms that requests may have.  Raises errors.ClientError."""
    if not isinstance(given, list) or not given:
        raise ClientError("items must be a list of items", param="items")
    if len(given) > _MOST_ITEMS:
        raise ClientError(f"items: at most {_MOST_ITEMS} at once", param="items")
    engine_items(given)  # which refuses what no request could have
    return with_ids(given)


def _metadata(document: dict[str, Any]) -> dict[str, str]:
    found = document.get("metadata")
    if found is None:
        return {}
    if not isinstance(found, dict) or len(found) > _MOST_PAIRS:
        raise ClientError(f"metadata is an object of up to {_MOST_PAIRS} texts", param="metadata")
    for name, value in found.items():
        if not isinstance(value, str) or len(name) > _KEY_LETTERS or len(value) > _VALUE_LETTERS:
            raise ClientError(
                f"metadata: names have up to {_KEY_LETTERS} letters, and values are texts of up to"
                f" {_VALUE_LETTERS}",
                param="metadata",
            )
    return found
