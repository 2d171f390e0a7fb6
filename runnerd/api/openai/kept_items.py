"""Items as they are kept, and as OpenAI tells them: with an id, a type and a list of parts."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from runnerd.errors import ClientError
from runnerd.sessions.conversations import item_not_found
from runnerd.sessions.kept_responses import new_id

Item = dict[str, Any]

_PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
}
_USUAL, _MOST = 20, 100


def with_ids(items: list[Any]) -> list[Item]:
    """Items to be kept: those without an id get one."""
    return [
        item if isinstance(item.get("id"), str) and item["id"] else {**item, "id": _new_id(item)}
        for item in items
    ]


def _new_id(item: Item) -> str:
    return new_id(_PREFIXES.get(str(item.get("type") or "message"), "item"))


def shown(item: Item) -> Item:
    """An item as it is told."""
    kind = item.get("type") or "message"
    told: Item = {"id": item["id"], "type": kind, "status": "completed"}
    if kind == "reasoning":
        told = {"id": item["id"], "type": kind, "summary": []}
    told |= item
    told["type"] = kind
    if kind == "message":
        told["content"] = _parts(item.get("content"), str(item.get("role")))
    return told


def _parts(content: object, role: str) -> list[Any]:
    if isinstance(content, list):
        return [_part(part, role) for part in content]
    return [_part({"text": content or ""}, role)]


def _part(part: Any, role: str) -> Any:
    """A part of a message, with the members that OpenAI's always have."""
    if not isinstance(part, dict) or part.get("type") not in _TEXTS:
        return part
    if role == "assistant":
        told = {"type": "output_text", "annotations": [], "logprobs": [], **part}
        return {**told, "type": "output_text"}
    return {**part, "type": "input_text"}


_TEXTS = (None, "text", "input_text", "output_text")


def page(request: web.Request, items: list[Item]) -> dict[str, Any]:
    """The page of a list that a request wants: `order` desc (the newest first) or asc, `after` an
    item's id, `limit` of them.  Raises errors.ClientError, ConversationNotFound.
    """
    query = request.query
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise ClientError("order is asc or desc", param="order")
    limit = query.get("limit", str(_USUAL))
    if not limit.isascii() or not limit.isdigit() or not 0 < int(limit[:4]) <= _MOST:
        raise ClientError(f"limit is a number from 1 to {_MOST}", param="limit")
    if order == "desc":
        items = items[::-1]
    if after := query.get("after"):
        ids = [item["id"] for item in items]
        if after not in ids:
            raise item_not_found(after)
        items = items[ids.index(after) + 1 :]
    return listed(items[: int(limit)], more=len(items) > int(limit))


def listed(items: list[Item], *, more: bool = False) -> dict[str, Any]:
    """A list of items as OpenAI's API tells it."""
    return {
        "object": "list",
        "data": [shown(item) for item in items],
        "first_id": items[0]["id"] if items else None,
        "last_id": items[-1]["id"] if items else None,
        "has_more": more,
    }
