"""`/runnerd/audit`: who has changed what."""

from __future__ import annotations

from aiohttp import web

from runnerd.access import Action
from runnerd.api.context import CONTEXT, json_response, timestamp
from runnerd.api.routing import Routes
from runnerd.errors import ClientError

ROUTES = Routes()

_USUAL = 100
_MOST = 10_000


@ROUTES.get("/runnerd/audit", Action.VIEW_AUDIT)
async def audit(request: web.Request) -> web.Response:
    """The newest `limit` entries, newest first: those `before` a number, of one `who`."""
    query = request.query
    found = await request.app[CONTEXT].accounts.audit.entries(
        limit=min(_number(request, "limit") or _USUAL, _MOST),
        before=_number(request, "before"),
        who=query.get("who"),
    )
    return json_response(
        [{"id": id, **entry._asdict(), "time": timestamp(entry.time)} for id, entry in found]
    )


def _number(request: web.Request, name: str) -> int | None:
    text = request.query.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise ClientError(f"{name} must be a number", param=name)
    return int(text)
