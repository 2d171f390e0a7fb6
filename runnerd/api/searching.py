"""`/runnerd/search`: models on the hub, for who may download some."""

from __future__ import annotations

from aiohttp import web

from runnerd.access import Action
from runnerd.api.context import CONTEXT, json_response
from runnerd.api.routing import Routes
from runnerd.errors import ClientError
from runnerd.pulls.hub_search import MOST, search

ROUTES = Routes()

_USUAL = 20
_LONGEST = 200


@ROUTES.get("/runnerd/search", Action.DOWNLOAD_MODEL)
async def search_hub(request: web.Request) -> web.Response:
    """Repositories with GGUF files whose names have the words `q`, most downloads first."""
    context, words = request.app[CONTEXT], request.query.get("q", "").strip()
    if not words or len(words) > _LONGEST:
        raise ClientError(f"q has the words to look for, {_LONGEST} letters at most", param="q")
    limit = _limit(request.query.get("limit"))
    endpoint = context.settings.hub_endpoint
    found = await search(context.pulls.http, endpoint, words, limit)
    return json_response(
        [
            {
                "model": f"huggingface.co/{each.name}",
                "downloads": each.downloads,
                "likes": each.likes,
                "gated": each.gated,
                "modified": each.modified or None,
            }
            for each in found
        ]
    )


def _limit(text: str | None) -> int:
    if text is None:
        return _USUAL
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:6]) <= MOST:
        raise ClientError(f"limit is a number from 1 to {MOST}", param="limit")
    return int(text)
