"""`GET /openapi.json`: every route of the daemon, described in OpenAPI 3.1.

It is made from the tables that requests are looked up in: the control plane's, the relay's and the
dialects'.  So a route that is there is described, with the permission that it takes; what a handler
says of itself is its description.  Of bodies it has what the daemon itself checks.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, cached_property
from typing import Any, NamedTuple

import msgspec
from aiohttp import hdrs, web

import runnerd
from runnerd import threads
from runnerd.access import Action
from runnerd.access.permissions import NEEDED
from runnerd.api.context import INFERENCE, encode
from runnerd.api.routing import ACTIONS, Routes, route_errors
from runnerd.relay.engine_parameters import Parameters
from runnerd.relay.error_formats import OPENAI, ErrorFormat
from runnerd.relay.operations import Operation
from runnerd.relay.routes import V1_PREFIXES, Route, templates

ROUTES = Routes()

_JSON = "application/json"
_PREFIX = "/{prefix}"  # in front of a name, as `api/openai` declares its routes
_PARAMETER = re.compile(r"\{([^}]+)\}")
_COMPLETIONS = ("chat/completions", "completions", "responses", "infill")
_REQUIRED: dict[str, dict[str, object]] = {
    "chat/completions": {"messages": {"type": "array", "items": {"type": "object"}}},
    "completions": {"prompt": {}},
    "responses": {"input": {}},
    "messages": {"messages": {"type": "array", "items": {"type": "object"}}},
    "embeddings": {"input": {}},
    "rerank": {"query": {"type": "string"}, "documents": {"type": "array"}},
    "reranking": {"query": {"type": "string"}, "documents": {"type": "array"}},
    "tokenize": {"content": {"type": "string"}},
    "detokenize": {"tokens": {"type": "array", "items": {"type": "integer"}}},
}
"""What a request of an operation must say besides its model."""


class _Lazily:
    """The document of an application, made when somebody asks for it."""

    def __init__(self, app: web.Application) -> None:
        self._app = app

    @cached_property
    def encoded(self) -> bytes:
        return encode(document(self._app))


_DOCUMENT = web.AppKey("openapi document", _Lazily)


class _Described(NamedTuple):
    method: str
    path: str
    action: Action
    errors: ErrorFormat
    text: str
    group: str
    body: dict[str, object] | None


@ROUTES.get("/openapi.json", Action.PUBLIC)
async def openapi(request: web.Request) -> web.Response:
    """This document: every route of the daemon."""
    body = await threads.run(lambda: request.app[_DOCUMENT].encoded)
    return web.Response(body=body, content_type=_JSON, headers={hdrs.CACHE_CONTROL: "no-cache"})


def describe(app: web.Application) -> None:
    """Let an application, whose routes are complete, describe itself."""
    app[_DOCUMENT] = _Lazily(app)


def document(app: web.Application) -> dict[str, Any]:
    """The OpenAPI document of an application, and of the relay in front of it."""
    paths: dict[str, dict[str, object]] = {}
    for each in (*_written_out(_control_plane(app)), *_relay(app[INFERENCE])):
        operations = paths.setdefault(each.path, {})
        operations.setdefault(each.method.lower(), _operation(each))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "runnerd",
            "version": runnerd.__version__,
            "description": "The models of one host, in every API that people's clients speak.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"key": []}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": _schemas(),
        },
    }


def _written_out(described: Iterable[_Described]) -> Iterator[_Described]:
    """Routes of which one is declared for all of OpenAI's prefixes, prefix by prefix."""
    for each in described:
        if _PREFIX not in each.path:
            yield each
            continue
        for prefix in ("/", *(f"{prefix}/" for prefix in V1_PREFIXES)):
            yield each._replace(path=each.path.replace(_PREFIX, prefix))


def _control_plane(app: web.Application) -> Iterator[_Described]:
    actions, errors = app[ACTIONS], route_errors(app)
    for route in app.router.routes():
        if route.resource is None or route.method == hdrs.METH_HEAD:
            continue  # GET answers HEAD, too
        group = (inspect.getmodule(route.handler) or runnerd).__name__
        yield _Described(
            route.method,
            route.resource.canonical,
            actions[route],
            errors[route],
            inspect.getdoc(route.handler) or "",
            group.removeprefix("runnerd.api.").replace(".routes", ""),
            None if route.method in (hdrs.METH_GET, hdrs.METH_DELETE) else {"type": "object"},
        )
    for route in app.router.routes():  # what is asked with HEAD alone
        if route.resource is not None and route.method == hdrs.METH_HEAD:
            path = route.resource.canonical
            others = {r.method for r in app.router.routes() if _same_path(r.resource, path)}
            if hdrs.METH_GET not in others:
                text = inspect.getdoc(route.handler) or ""
                yield _Described("HEAD", path, actions[route], errors[route], text, "models", None)


def _same_path(resource: web.AbstractResource | None, path: str) -> bool:
    return resource is not None and resource.canonical == path


def _relay(dialects: Mapping[str, Route]) -> Iterator[_Described]:
    for path, operation in templates().items():
        if path not in dialects:
            yield _inference(path, operation, OPENAI, "inference")
    for path, route in dialects.items():
        group = "inference" if route.error_format is OPENAI else path.split("/")[1]
        yield _inference(path, route.operation, route.error_format, group)


def _inference(path: str, operation: Operation, errors: ErrorFormat, group: str) -> _Described:
    text = f"Inference: {operation.name}."
    body = _inference_body(operation.name, plain=errors is OPENAI)
    return _Described("POST", path, operation.action, errors, text, group, body)


def _inference_body(name: str, *, plain: bool) -> dict[str, object]:
    """What a body of inference must have; of completions also how they are to be generated."""
    if not plain:
        return {"type": "object", "properties": {"model": {"type": "string"}}}
    own: dict[str, object] = {
        "type": "object",
        "properties": {"model": {"type": "string"}, **_REQUIRED.get(name, {})},
        "required": ["model", *_REQUIRED.get(name, {})],
    }
    if name not in _COMPLETIONS:
        return own
    return {"allOf": [own, {"$ref": "#/components/schemas/Parameters"}]}


def _operation(each: _Described) -> dict[str, object]:
    summary, _, rest = each.text.partition("\n\n")
    needed = NEEDED[each.action]
    found: dict[str, object] = {
        "operationId": _id(each),
        "summary": " ".join(summary.split()),
        "tags": [each.group],
        "responses": _responses(each),
        "x-action": each.action.value,
        "x-permission": None if needed is None else needed.value,
    }
    if rest:
        found["description"] = rest
    names = _PARAMETER.findall(each.path)
    if names:
        found["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in names
        ]
    if each.body is not None:
        found["requestBody"] = {"content": {_JSON: {"schema": each.body}}}
    if needed is None:
        found["security"] = [{}]
    return found


def _id(each: _Described) -> str:
    return re.sub(r"\W+", "_", f"{each.method.lower()}{each.path}").strip("_")


def _responses(each: _Described) -> dict[str, object]:
    """A response of its own kind, and errors in the form of the route's API."""
    error: dict[str, object] = {"type": "string"}
    if each.errors.media_type == OPENAI.media_type:
        name = "Error" if each.errors is OPENAI else "ForeignError"
        error = {"$ref": f"#/components/schemas/{name}"}
    return {
        "2XX": {"description": "done"},
        "default": {
            "description": "why it was not done",
            "content": {each.errors.media_type: {"schema": error}},
        },
    }


@cache
def _schemas() -> dict[str, object]:
    """The shapes that several routes share."""
    (_, found) = msgspec.json.schema_components(
        [Parameters], ref_template="#/components/schemas/{name}"
    )
    text = {"type": ["string", "null"]}
    inner = {"message": {"type": "string"}, "type": text, "param": text, "code": text}
    error = {"type": "object", "properties": inner, "required": ["message"]}
    return {
        **found,
        "Error": {"type": "object", "properties": {"error": error}, "required": ["error"]},
        "ForeignError": {"type": "object", "description": "as the API has it that the route is of"},
    }
