"""Ollama's routes for accounts of its own service, of which there are none here: each says so."""

from __future__ import annotations

from aiohttp import web

from runnerd.access import Action
from runnerd.api.ollama.errors import FAMILY, OLLAMA
from runnerd.api.routing import Routes
from runnerd.errors import NotSupported

ROUTES = Routes(OLLAMA, family=FAMILY)


@ROUTES.post("/api/me", Action.PUBLIC)
@ROUTES.post("/api/signin", Action.PUBLIC)
@ROUTES.post("/api/signout", Action.PUBLIC)
@ROUTES.delete("/api/user/keys/{key}", Action.PUBLIC)
async def no_account(request: web.Request) -> web.Response:
    """Raise errors.NotSupported."""
    raise NotSupported(
        "this is runnerd, which runs models on this host: there is no account of ollama.com to"
        " sign in to or out of, and none is needed"
    )
