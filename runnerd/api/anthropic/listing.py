"""Models as Anthropic's clients list them, on the routes that OpenAI's have too."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from aiohttp import web

from runnerd.models.model import Model

_VERSION = "anthropic-version"  # a header that all of Anthropic's clients send, and no others


def asks(request: web.Request) -> bool:
    """Return whether a request is one of Anthropic's clients'."""
    return _VERSION in request.headers


def page(models: Sequence[Model]) -> dict[str, object]:
    """Return all names of all models, as the only page."""
    entries = [entry(model, name) for model in models for name in model.names]
    first, last = (entries[0]["id"], entries[-1]["id"]) if entries else (None, None)
    return {"data": entries, "has_more": False, "first_id": first, "last_id": last}


def entry(model: Model, name: str) -> dict[str, object]:
    """Return one model by one of its names."""
    created = datetime.datetime.fromtimestamp(model.created, datetime.UTC)
    return {
        "type": "model",
        "id": name,
        "display_name": name,
        "created_at": created.isoformat().replace("+00:00", "Z"),
    }
