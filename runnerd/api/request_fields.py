"""Inference requests as the page, `runnerd top` and events show them."""

from __future__ import annotations

import time
from collections.abc import Iterable

from aiohttp import web

from runnerd.api.context import CONTEXT, models_of, principal_of, timestamp
from runnerd.errors import RunnerdError
from runnerd.relay.exchange_context import RunningExchange
from runnerd.relay.records import RequestRecord


def may_see(request: web.Request, record: RequestRecord) -> bool:
    """Whether a request is there for who asks: one's own, and for owners all.

    Raises errors.Unauthorized.
    """
    principal = principal_of(request)
    if request.app[CONTEXT].policy.sees_everything(principal):
        return True
    return bool(principal.id) and record.principal == principal.id


def running_of(request: web.Request) -> list[RunningExchange]:
    """The requests that run or wait, the oldest first, of those that there are for who asks."""
    running = request.app[CONTEXT].exchanges.running()
    return [exchange for exchange in running if may_see(request, exchange.record)]


def requests_json(
    request: web.Request, records: Iterable[RequestRecord]
) -> list[dict[str, object]]:
    """Requests as `request_json` shows each; a model that many are for is looked up once."""
    names: dict[str, str] = {}
    shown = []
    for record in records:
        if record.model not in names:
            names[record.model] = _name(request, record.model)
        shown.append(_shown(request, record, names[record.model]))
    return shown


def request_json(request: web.Request, record: RequestRecord) -> dict[str, object]:
    """One request: `state` is waiting, running or ended; times in seconds since `started`."""
    return _shown(request, record, _name(request, record.model))


def _shown(request: web.Request, record: RequestRecord, name: str) -> dict[str, object]:
    tokens, ended = record.usage, record.duration is not None
    duration = record.duration if ended else time.monotonic() - record.clock
    return {
        "id": record.id,
        "model": name,
        "model_id": record.model,
        "operation": record.operation,
        "principal": record.principal,
        "user": request.app[CONTEXT].accounts.called(record.principal),
        "origin": record.origin,
        "user_agent": record.user_agent,
        "streamed": record.streamed,
        "state": "ended" if ended else "waiting" if record.waited is None else "running",
        "started": timestamp(record.started_at),
        "seconds": duration,
        "waited_seconds": record.waited,
        "first_byte_seconds": record.first_byte,
        "runner": record.runner,
        "status": record.status,
        "bytes_in": record.bytes_in,
        "bytes_out": record.bytes_out,
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.generated,
        "cached_tokens": tokens.cached,
        "error": record.error,
    }


def _name(request: web.Request, id: str) -> str:
    """What a model is called; its id where it is gone, or a backend's own."""
    if not id:
        return ""
    try:
        return models_of(request).get(id).name
    except RunnerdError:
        return id
