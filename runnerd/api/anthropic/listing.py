"""Models as Anthropic's clients list them, on the routes that OpenAI's have too."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from aiohttp import web

from runnerd.models.catalog import Model

_VERSION = "anthropic-version"  # a header that all of Anthropic's clients send, and no others


def asks(request: web.Request) -> bool:
    """Return whether a request is one of Anthropic's clients'."""
    return _VERSION in request.headers


def page(models: Sequence[Model]) -> dict[str, object]:
    """Return all models, as the only page."""
    ids = [model.name for model in models]
    first, last = (ids[0], ids[-1]) if ids else (None, None)
    entries = [entry(model) for model in models]
    return {"data": entries, "has_more": False, "first_id": first, "last_id": last}


def entry(model: Model) -> dict[str, object]:
    """Return one model."""
    created = datetime.datetime.fromtimestamp(model.created, datetime.UTC)
    id = model.name
    return {
        "type": "model",
        "id": id,
        "display_name": id,
        "created_at": created.isoformat().replace("+00:00", "Z"),
    }
