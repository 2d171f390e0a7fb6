"""`POST /engines/load`: models are loaded before anybody asks, without a request of a client."""

from __future__ import annotations

import asyncio

from aiohttp import web

from runnerd import tasks
from runnerd.access import Action
from runnerd.api.context import CONTEXT, json_body, json_response, models_of, principal_of
from runnerd.api.routing import Routes
from runnerd.errors import ClientError
from runnerd.relay.preloading import preload

ROUTES = Routes()


@ROUTES.post("/engines/load", Action.LOAD_MODEL)
async def load(request: web.Request) -> web.Response:
    """Load models, each for its own purpose, and answer once all of them are ready.

    A model counts as used in this moment: it stays as long as it would after a request.
    """
    context, principal = request.app[CONTEXT], principal_of(request)
    names = (await json_body(request)).get("models")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ClientError("models must be a list of names", param="models")
    if not names:
        raise ClientError("name the models to load", param="models")
    models = models_of(request)
    loads = [
        tasks.spawn(
            preload(context.exchanges, context.supervisor, models, principal, name),
            name=f"load {name}",
        )
        for name in names
    ]
    try:
        await asyncio.gather(*loads)
    finally:
        for each in loads:
            await tasks.cancel_and_wait(each)
    return json_response({"loaded_models": names})
