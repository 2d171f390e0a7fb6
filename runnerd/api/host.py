"""The daemon itself: is it there, what is it, what does it say."""

from __future__ import annotations

from aiohttp import web

import runnerd
from runnerd.access import Action
from runnerd.api.context import CONTEXT, authorize, json_response, models_of
from runnerd.api.page import document, wants_page
from runnerd.api.pool_status import pool_status
from runnerd.api.routing import Routes
from runnerd.api.visible_runners import reports_of
from runnerd.api.visible_transfers import transfers_of
from runnerd.errors import Draining
from runnerd.scheduler import RunnerState

ROUTES = Routes()


@ROUTES.get("/", Action.PUBLIC)
async def root(request: web.Request) -> web.StreamResponse:
    """The page for browsers, a sign of life for clients that probe, lllms' status for who asks for
    JSON.
    """
    if wants_page(request):
        return await document(request)
    if "application/json" in request.headers.get("Accept", ""):
        authorize(request, Action.VIEW_RUNNERS)
        context = request.app[CONTEXT]
        supervisor = context.supervisor
        status = pool_status(
            reports_of(request),
            models_of(request).models(),
            dict(supervisor.configurations()),
            downloads=transfers_of(request),
            backend=supervisor.keys.backend(None).name,
            queued=supervisor.queued,
        )
        return json_response(status)
    return web.Response(text="Ollama is running")  # what its clients look for


@ROUTES.get("/health", Action.PUBLIC)
async def health(request: web.Request) -> web.Response:
    """200 while the daemon serves, 503 once it drains: whoever balances the load goes elsewhere."""
    supervisor = request.app[CONTEXT].supervisor
    running = sum(report.state is not RunnerState.FAILED for report in supervisor.reports())
    said = {"status": "ok", "runners": running, "queued": supervisor.queued}
    if not supervisor.draining:
        return json_response(said)
    error = Draining("the daemon is shutting down; try again when it is back")
    return json_response({**said, **error.body(), "status": "stopping"}, status=error.status)


@ROUTES.get("/version", Action.PUBLIC)
async def version(request: web.Request) -> web.Response:
    """The daemon's version."""
    return json_response({"version": runnerd.__version__})
