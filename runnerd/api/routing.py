"""The control plane's routes, each with the action that it takes.

Handlers are declared as with aiohttp's own tables, and name their action beside the path.  A route
that reached the application by another way has none, and the application does not start with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from aiohttp import hdrs, web
from aiohttp.web_urldispatcher import AbstractRoute

from runnerd.access import Action
from runnerd.errors import RunnerdError
from runnerd.relay.error_formats import OPENAI, ErrorFormat

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Expecting = Callable[[web.Request], Awaitable[web.StreamResponse | None]]
Decorator = Callable[[Handler], Handler]

ACTIONS = web.AppKey("actions", dict[AbstractRoute, Action])
_ERROR_FORMATS = web.AppKey("error formats", dict[AbstractRoute, ErrorFormat])
_JSON = OPENAI.media_type
_FAMILIES = web.AppKey("families", dict[str, ErrorFormat])


class Customs(NamedTuple):
    """What an API does in a way of its own: its requests say in their bodies who makes them, and
    its errors have other statuses.

    `identify` reads the body and names the principal, before anybody asks what that may do.
    """

    identify: Callable[[web.Request], Awaitable[None]]
    status: Callable[[RunnerdError], int]


_CUSTOMS = web.AppKey("customs", dict[AbstractRoute, Customs])


class _Declared(NamedTuple):
    method: str
    path: str
    action: Action
    error_format: ErrorFormat
    handler: Handler


class Routes:
    """The routes of one module, in the order in which they are looked at.

    GET answers HEAD, too.  Errors are told in `error_format`, also beneath the path `family` where
    there is no such route; a route may have `errors` of its own.
    """

    def __init__(
        self,
        error_format: ErrorFormat = OPENAI,
        family: str = "",
        customs: Customs | None = None,
    ) -> None:
        self._error_format = error_format
        self._family = family
        self._customs = customs
        self._declared: list[_Declared] = []

    def get(self, path: str, action: Action, errors: ErrorFormat | None = None) -> Decorator:
        """Declare a handler of GET and HEAD."""
        return self._declare((hdrs.METH_HEAD, hdrs.METH_GET), path, action, errors)

    def head(self, path: str, action: Action, errors: ErrorFormat | None = None) -> Decorator:
        """Declare a handler of HEAD alone."""
        return self._declare((hdrs.METH_HEAD,), path, action, errors)

    def post(self, path: str, action: Action, errors: ErrorFormat | None = None) -> Decorator:
        """Declare a handler of POST."""
        return self._declare((hdrs.METH_POST,), path, action, errors)

    def delete(self, path: str, action: Action, errors: ErrorFormat | None = None) -> Decorator:
        """Declare a handler of DELETE."""
        return self._declare((hdrs.METH_DELETE,), path, action, errors)

    def _declare(
        self, methods: Iterable[str], path: str, action: Action, errors: ErrorFormat | None
    ) -> Decorator:
        error_format = errors or self._error_format

        def declare(handler: Handler) -> Handler:
            for method in methods:
                self._declared.append(_Declared(method, path, action, error_format, handler))
            return handler

        return declare

    def add_to(self, app: web.Application, expecting: Expecting | None = None) -> None:
        """Register everything with an application, and note the actions in `app[ACTIONS]`.

        `expecting` is asked about clients that wait for 100 Continue.
        """
        actions = app.setdefault(ACTIONS, {})
        formats = app.setdefault(_ERROR_FORMATS, {})
        families = app.setdefault(_FAMILIES, {})
        customs = app.setdefault(_CUSTOMS, {})
        if self._family:
            families[self._family] = self._error_format
        for method, path, action, error_format, handler in self._declared:
            resource = app.router.add_resource(path)
            route = resource.add_route(method, handler, expect_handler=expecting)
            actions[route] = action
            formats[route] = error_format
            if self._customs is not None:
                customs[route] = self._customs


def customs_of(request: web.Request) -> Customs | None:
    """The customs of a request's API, where it has any."""
    return request.app[_CUSTOMS].get(request.match_info.route)


def error_format_of(request: web.Request) -> ErrorFormat:
    """How errors of a request are told: as its route declares, or its path's family.

    A client that asks for JSON gets OpenAI's where the route would not tell them in JSON.
    """
    found = request.app[_ERROR_FORMATS].get(request.match_info.route)
    if found is not None:
        return OPENAI if found.media_type != _JSON and _wants_json(request) else found
    families = request.app[_FAMILIES].items()
    return next((each for path, each in families if request.path.startswith(path)), OPENAI)


def route_errors(app: web.Application) -> dict[AbstractRoute, ErrorFormat]:
    """How each route tells its errors."""
    return app[_ERROR_FORMATS]


def _wants_json(request: web.Request) -> bool:
    return _JSON in request.headers.get(hdrs.ACCEPT, "").lower()


def check_actions(app: web.Application) -> None:
    """Raise LookupError for a route without an action; called once, before the first request."""
    for route in app.router.routes():
        if route not in app[ACTIONS]:
            raise LookupError(f"{route.method} {route.resource} declares no action")
