"""`/engines/requests`: what became of requests and, where an owner has it kept, what was asked.

Without `capture_requests` it lists the newest requests without their content.  With it, requests
and responses come in Docker Model Runner's form, by model, and as a stream of events.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence

from aiohttp import web

from runnerd.access import Action
from runnerd.api.context import (
    CONTEXT,
    Context,
    authorize,
    encode,
    flag,
    json_response,
    models_of,
    principal_of,
    timestamp,
)
from runnerd.api.docker_errors import DOCKER
from runnerd.api.routing import Routes
from runnerd.backends.configuration import BackendMode
from runnerd.configurations import ConfigurationKey
from runnerd.errors import Forbidden
from runnerd.relay.records import RequestRecord

ROUTES = Routes()

_POLL = 0.3  # seconds between looks for new requests
_THEIR_CLIENT = "docker-model-cli/"


@ROUTES.get("/engines/requests", Action.VIEW_REQUESTS, DOCKER)
async def requests(request: web.Request) -> web.StreamResponse:
    """The newest inference requests: one's own, and for owners all.

    `model` names one; `include_existing` begins a stream with those that there are.
    """
    context, principal = request.app[CONTEXT], principal_of(request)
    name = request.query.get("model")
    model = str(models_of(request).get(name).id) if name else None
    whose = None if context.policy.sees_everything(principal) else principal.id
    follows = "text/event-stream" in request.headers.get("Accept", "")
    if context.settings.capture_requests:
        authorize(request, Action.VIEW_CONTENT)
        if follows:
            return await _follow(request, context, model, whose)
        return json_response(_by_model(context, context.records.captured(model, whose)))
    if follows or request.headers.get("User-Agent", "").startswith(_THEIR_CLIENT):
        raise Forbidden(
            "requests and responses are not kept; the owner can switch that on:"
            " RUNNERD_CAPTURE_REQUESTS=1, or capture_requests = true in the settings file"
        )
    return json_response([record.to_json() for record in context.records.list(model, whose)])


async def _follow(
    request: web.Request, context: Context, model: str | None, whose: str | None
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    if request.method != "GET":
        return response
    await response.prepare(request)
    await response.write(_event("connected", {"status": "connected"}))
    seen = {id(record): record for record in context.records.captured(model, whose)}
    if flag(request, "include_existing"):
        for record in seen.values():
            await response.write(_event("existing_request", _by_model(context, [record])))
    drains = context.observability.events.closed
    while context.settings.capture_requests and not drains.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_POLL):
                await drains.wait()
        there = {id(record): record for record in context.records.captured(model, whose)}
        for key, record in there.items():
            if key not in seen:
                await response.write(_event("new_request", _by_model(context, [record])))
        seen = there
    await response.write_eof()
    return response


def _event(name: str, data: object) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), encode(data))


def _by_model(context: Context, records: Iterable[RequestRecord]) -> list[dict[str, object]]:
    """Requests by the models that they were for."""
    by_model: dict[str, list[RequestRecord]] = {}
    for record in records:
        by_model.setdefault(record.model, []).append(record)
    configured = dict(context.supervisor.configurations())
    backend = context.supervisor.keys.backend(None).name
    return [
        _group(model, of_it, configured.get(ConfigurationKey(backend, model, _MODE)))
        for model, of_it in by_model.items()
    ]


_MODE = BackendMode.COMPLETION


def _group(
    model: str, records: Sequence[RequestRecord], configuration: object
) -> dict[str, object]:
    to_json = getattr(configuration, "to_json", dict)
    return {
        "count": len(records),
        "model": model,
        "config": to_json(),
        "records": [_record(record) for record in records],
    }


def _record(record: RequestRecord) -> dict[str, object]:
    content = record.content
    assert content is not None
    told = content.response_text()
    failed = record.status >= 400 or record.error
    return {
        "id": f"{record.model}_{int(record.started_at * 1e9)}",
        "model": record.model,
        "method": "POST",
        "url": content.url,
        "request": content.request_text(),
        **({"error": told or record.error or ""} if failed else {"response": told}),
        "timestamp": timestamp(record.started_at),
        "status_code": record.status,
        **({"user_agent": record.user_agent} if record.user_agent else {}),
        **({"origin": record.origin} if record.origin else {}),
    }
