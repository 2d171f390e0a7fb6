"""`/runnerd/fit`: whether a model fits, be it here or elsewhere; nothing is pulled or loaded."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from runnerd.access import Action
from runnerd.api.context import CONTEXT, authorize, flag, json_response, models_of
from runnerd.api.model_ids import model_id
from runnerd.api.routing import Routes
from runnerd.api.visible_runners import reports_of
from runnerd.api.visible_transfers import asker_of, check_may_be
from runnerd.backends.configuration import BackendMode
from runnerd.configurations import ModelConfiguration
from runnerd.errors import ClientError, ModelNotFound
from runnerd.models.catalog import shown
from runnerd.relay.model_modes import modes
from runnerd.supervisor import Fit

ROUTES = Routes()

_MOST = 2**31 - 1
_HIDDEN = "other models"  # that who asks may not know of


@ROUTES.get("/runnerd/fit", Action.VIEW_RUNNERS)
async def fit(request: web.Request) -> web.Response:
    """What a model needs, where, who would make room, and how long its context can be.

    `context` and `parallel` are other numbers than those that are configured, `mode` another mode.
    Of a model that is not here the headers are fetched, which takes the permission to download;
    with `here` there is none but those that are.
    """
    name = request.query.get("model", "").strip()
    if not name:
        raise ClientError("model is required", param="model")
    try:
        id = model_id(request, name, None)
    except ModelNotFound:
        if flag(request, "here"):
            raise
        authorize(request, Action.DOWNLOAD_MODEL)
        check_may_be(request, name)
        return await _elsewhere(request, name)
    return await _here(request, name, id)


async def _here(request: web.Request, name: str, id: str) -> web.Response:
    supervisor = request.app[CONTEXT].supervisor
    backend = supervisor.keys.backend(None)
    model = models_of(request).get(name)
    mode = _mode(request, next(iter(modes(model.capabilities)), BackendMode.COMPLETION))
    key = supervisor.keys.key(backend, id, mode)
    configured = supervisor.keys.configuration(key, id)
    found = await supervisor.fitting.fit(
        backend, id, _asked(request, configured), mode, trained_context=model.context_length or 0
    )
    return json_response(
        _fields(request, name, found) | {"here": True, "mode": mode, "bytes": model.size_bytes}
    )


async def _elsewhere(request: web.Request, name: str) -> web.Response:
    context = request.app[CONTEXT]
    supervisor = context.supervisor
    backend = supervisor.keys.backend(None)
    async with context.outlining.outline(name, asker=asker_of(request)) as outline:
        facts = outline.files.facts
        mode = _mode(request, BackendMode.EMBEDDING if facts.encodes else BackendMode.COMPLETION)
        found = await supervisor.fitting.fit(
            backend,
            outline.id,
            _asked(request, ModelConfiguration()),
            mode,
            trained_context=facts.context_length,
        )
    return json_response(
        _fields(request, name, found) | {"here": False, "mode": mode, "bytes": outline.bytes}
    )


def _asked(request: web.Request, configured: ModelConfiguration) -> ModelConfiguration:
    """What is configured, with what the request says instead."""
    said = {
        field: value
        for field, name in (("context_size", "context"), ("parallel", "parallel"))
        if (value := _number(request, name)) is not None
    }
    return configured.model_copy(update=said)


def _number(request: web.Request, name: str) -> int | None:
    text = request.query.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:11]) <= _MOST:
        raise ClientError(f"{name} is a number from 1 to {_MOST}", param=name)
    return int(text)


def _mode(request: web.Request, usual: BackendMode) -> BackendMode:
    text = request.query.get("mode")
    if text is None:
        return usual
    try:
        return BackendMode(text)
    except ValueError:
        known = ", ".join(mode.value for mode in BackendMode)
        raise ClientError(f"mode is one of {known}", param="mode") from None


def _fields(request: web.Request, name: str, fit: Fit) -> dict[str, object]:
    evicts = None if fit.evicts is None else _named(request, fit.evicts)
    return {
        "model": name,
        "fits": fit.fits,
        "sentence": fit.sentence(name if name.isprintable() else shown(name), evicts or ()),
        "context": fit.context,
        "trained_context": fit.trained_context or None,
        "parallel": fit.parallel,
        "least_parallel": fit.least_parallel,
        "need": dict(fit.need),
        "devices": [
            {"id": each.id, "need": each.need, "room": each.room, "most": each.most}
            for each in fit.devices
        ],
        "evicts": evicts,
        "longest_context": fit.longest_context,
        "longest_beside": fit.longest_beside,
    }


def _named(request: web.Request, runners: Sequence[str]) -> list[str]:
    """What the models of runners are called, for who may know of them; the rest counts together."""
    seen = {report.id: report.model_ref for report in reports_of(request)}
    names = [seen[id] for id in runners if id in seen]
    return names if len(names) == len(runners) else [*names, _HIDDEN]
