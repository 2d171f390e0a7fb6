"""The control plane's application: all routes, and one place that turns failures into bodies."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

from aiohttp import ClientConnectionResetError, web

from runnerd.api import (
    configuring,
    engines,
    events,
    fitting,
    host,
    importing,
    loading,
    log_views,
    metrics,
    models,
    openapi,
    overview,
    page,
    pulls,
    request_views,
    running_requests,
    searching,
)
from runnerd.api.admin import (
    approvals,
    audit,
    backups,
    catalog,
    jobs,
    keys,
    logins,
    me,
    usage,
    users,
)
from runnerd.api.auditing import audited
from runnerd.api.context import CONTEXT, INFERENCE, Context, authorize, principal_of
from runnerd.api.gridrepublic import jobs as gridrepublic_jobs
from runnerd.api.ollama import accounts, blobs, creation, library, transfers
from runnerd.api.openai import batches, conversations, files, response_store_api
from runnerd.api.pantry.modules import MODULES as PANTRY
from runnerd.api.protollm import routes as protollm
from runnerd.api.routing import ACTIONS, Handler, check_actions, customs_of, error_format_of
from runnerd.api.sessions import routes as sessions
from runnerd.durable import disk_errors
from runnerd.errors import InternalError, MethodNotAllowed, RouteNotFound, RunnerdError
from runnerd.relay import routes
from runnerd.relay.admission import EXPOSED
from runnerd.relay.messages import CONTINUE

log = logging.getLogger(__name__)

_MODULES = (
    host,
    openapi,
    page,
    pulls,  # these two before the models: their names may be anything
    configuring,
    importing,
    models,
    engines,
    request_views,
    loading,
    response_store_api,
    conversations,
    library,
    blobs,
    creation,
    transfers,
    accounts,
    users,
    keys,
    approvals,
    logins,
    usage,
    audit,
    backups,
    catalog,
    me,
    events,
    overview,
    running_requests,
    sessions,
    jobs,
    gridrepublic_jobs,
    files,
    batches,
    protollm,
    *PANTRY,
    metrics,
    log_views,
    fitting,
    searching,
)


def make_app(
    context: Context, inference: Mapping[str, routes.Route] | None = None
) -> web.Application:
    """Return the application; its requests come from the relay's connections.

    `inference` are the routes that belong to the relay when they are asked with POST.  Raises
    LookupError for a route that declares no action.
    """
    app = web.Application(middlewares=[audited, _responses], client_max_size=0)
    app[CONTEXT] = context
    app[INFERENCE] = inference or {}
    page.add_page(app)
    for module in _MODULES:
        module.ROUTES.add_to(app, _expecting)
    check_actions(app)
    openapi.describe(app)
    app.on_response_prepare.append(_add_common_headers)
    return app


async def _expecting(request: web.Request) -> web.StreamResponse | None:
    """Ask for the body that a client holds back, once it is clear that it may send one."""
    try:
        if customs_of(request) is None:
            _authorize_route(request)
        else:  # who may what is known once the body was read
            principal_of(request)
    except RunnerdError as error:
        return _failure(request, error)
    await request.writer.write(CONTINUE)
    return None


def _authorize_route(request: web.Request) -> None:
    if (action := request.app[ACTIONS].get(request.match_info.route)) is not None:
        authorize(request, action)


@web.middleware
async def _responses(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every failure into an error of the route's format."""
    try:
        if request.method == "OPTIONS":
            response: web.StreamResponse = _preflight(request)
        else:
            if (customs := customs_of(request)) is not None:
                principal_of(request)  # raises for a key in the head that does not count
                await customs.identify(request)
            _authorize_route(request)
            with disk_errors():
                response = await handler(request)
    except web.HTTPMethodNotAllowed as error:
        allow = ", ".join(sorted(error.allowed_methods))
        response = _failure(
            request, MethodNotAllowed(f"{request.method} is not offered here", allow=allow)
        )
    except web.HTTPNotFound:
        response = _failure(request, _unknown(request))
    except RunnerdError as error:
        response = _failure(request, error)
    except ClientConnectionResetError:  # it left while it was answered: nobody reads this
        response = _failure(request, InternalError())
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        response = _failure(request, InternalError())
    return response


def _unknown(request: web.Request) -> RunnerdError:
    if routes.find(request.path) is not None or request.path in request.app[INFERENCE]:
        return MethodNotAllowed(f"{request.method} is not offered here", allow="POST")
    return RouteNotFound(f"no such route: {request.method} {request.path[:200]}")


def _failure(request: web.Request, error: RunnerdError) -> web.Response:
    route = request.app[INFERENCE].get(request.path)
    error_format = error_format_of(request) if route is None else route.error_format
    customs = customs_of(request)
    status = error.status if customs is None else customs.status(error)
    response = web.Response(
        body=error_format.body(error.body()["error"], status),
        status=status,
        headers={**error.headers(), "Content-Type": error_format.media_type},
    )
    if not request.body_exists or request.content.is_eof():
        return response
    response.force_close()  # the rest of an unread body is not worth waiting for
    return response


async def _add_common_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["X-Request-Id"] = request.headers.get("x-request-id", "")
    response.headers["X-Content-Type-Options"] = "nosniff"  # nothing here is a page but the page
    if response.content_length is None and not isinstance(response, web.Response):  # a stream
        response.headers.setdefault("Cache-Control", "no-cache")
        response.headers["X-Accel-Buffering"] = "no"
    if (origin := request.headers.get("Origin")) is not None:
        # The relay has let through only origins that may read this.
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = EXPOSED
        response.headers.setdefault("Vary", "Origin")


def _preflight(request: web.Request) -> web.Response:
    """Let a page that may use the daemon send any header, and reach it from another network."""
    if "Origin" not in request.headers:
        raise MethodNotAllowed("OPTIONS answers browsers' preflight requests", allow="GET, POST")
    names = request.headers.get("Access-Control-Request-Headers", "")
    headers = {
        "Access-Control-Allow-Methods": "GET, HEAD, POST, DELETE",
        "Access-Control-Allow-Headers": names if _NAMES.fullmatch(names) else _USUAL,
        "Access-Control-Max-Age": "600",
        "Vary": "Origin, Access-Control-Request-Headers, Access-Control-Request-Private-Network",
    }
    if request.headers.get("Access-Control-Request-Private-Network") == "true":
        headers["Access-Control-Allow-Private-Network"] = "true"
    return web.Response(status=204, headers=headers)


_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~ ,-]{1,4096}")
_USUAL = "Authorization, Content-Type, X-Request-Origin"
