"""`/metrics`: figures for Prometheus."""

from __future__ import annotations

from aiohttp import web

from runnerd.access import Action
from runnerd.api.context import CONTEXT, is_owner, principal_of
from runnerd.api.routing import Routes
from runnerd.errors import Forbidden, RouteNotFound

ROUTES = Routes()

_TEXT = "text/plain; version=0.0.4; charset=utf-8"


@ROUTES.get("/metrics", Action.VIEW_METRICS)
async def metrics(request: web.Request) -> web.Response:
    """All figures, for who sees all models, or for owners alone, as the setting `metrics` says."""
    context = request.app[CONTEXT]
    allowed = context.settings.metrics
    if allowed == "off":
        raise RouteNotFound(
            'metrics are switched off; the owner can change that: metrics = "users"'
        )
    if allowed == "owners" and not is_owner(request):
        raise Forbidden("metrics are for owners alone here (the setting `metrics`)")
    if context.policy.grants(principal_of(request)) is not None:
        raise Forbidden("metrics tell of all models, and you were granted some")
    body = await context.observability.metrics.scrape()
    return web.Response(body=body, headers={"Content-Type": _TEXT})
