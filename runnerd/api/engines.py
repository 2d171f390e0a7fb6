"""`/engines`: backends, runners and configurations, as Docker Model Runner's clients know them."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Mapping
from typing import Any

import aiohttp
from aiohttp import web

from runnerd.access import Action
from runnerd.api.context import CONTEXT, Context, json_answer, json_body, text_field, timestamp
from runnerd.api.routing import Routes
from runnerd.backends.configuration import BackendMode
from runnerd.configurations import ConfigurationKey
from runnerd.errors import ClientError, InvalidConfiguration
from runnerd.scheduler import RunnerState
from runnerd.supervisor import RunnerReport
from runnerd.units import format_duration

ROUTES = Routes()

_NEVER = "0001-01-01T00:00:00Z"  # what Go clients expect for "no time": a runner in use

_KEEPING = (
    "keep_alive", "min_instances", "max_instances", "pinned", "exclusive_group", "preload",
    "preload_prefix", "completion_defaults", "forced_parameters", "stripped_parameters",
)  # fmt: skip
_FIELDS = frozenset(
    {
        "model", "mode", "context-size", "runtime-flags", "raw-runtime-flags", "speculative",
        "llamacpp", "backend", "parallel", "placement", "engine", "force", *_KEEPING,
    }
)  # fmt: skip


@ROUTES.get("/engines/status", Action.VIEW_RUNNERS)
async def status(request: web.Request) -> web.Response:
    """Every backend's state: `Running`, `Not Installed`, `Installing` or `Error`, with details."""
    backends = request.app[CONTEXT].backends
    return json_answer({name: backend.status() for name, backend in backends.items()})


@ROUTES.get("/engines/ps", Action.VIEW_RUNNERS)
async def ps(request: web.Request) -> web.Response:
    """Every runner."""
    context = request.app[CONTEXT]
    names = {str(model.id): model.name for model in context.store.list()}
    runners = []
    for report in context.supervisor.reports():
        id, name = _model(context, report, names)
        also = [names[other] for other in report.models if other != id and other in names]
        runners.append(_runner(report) | {"model_name": name, "model_id": id, "also": also})
    return json_answer(runners)


@ROUTES.get("/engines/df", Action.VIEW_RUNNERS)
async def df(request: web.Request) -> web.Response:
    """Disk usage, in bytes, and the directory that it is of."""
    context = request.app[CONTEXT]
    backend = context.supervisor.keys.backend(None)
    return json_answer(
        {
            "models_disk_usage": await asyncio.to_thread(context.store.disk_usage),
            "default_backend_disk_usage": await backend.disk_usage(),
            "state_dir": str(context.settings.state_dir),
        }
    )


@ROUTES.post("/engines/unload", Action.UNLOAD_MODEL)
async def unload(request: web.Request) -> web.Response:
    """Stop idle runners: all of them, or those of some models.

    Those in use, or waited for while they load, stay; `force` ends them and their requests.
    """
    context = request.app[CONTEXT]
    document = await json_body(request)
    names = document.get("models") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ClientError("models must be a list of names", param="models")
    everything = document.get("all") is True
    if not names and not everything:
        raise ClientError("name the models to unload, or set all", param="models")
    backend = text_field(document, "backend")
    unloaded = await context.supervisor.unloading.unload(
        backend=backend,
        models=None if everything else {_model_id(context, name, backend) for name in names},
        force=document.get("force") is True,
    )
    kept = {"runners_in_use": unloaded.in_use} if unloaded.in_use else {}
    return json_answer({"unloaded_runners": unloaded.stopped} | kept)


@ROUTES.post("/engines/_configure", Action.CONFIGURE_MODEL)
@ROUTES.post("/engines/{backend}/_configure", Action.CONFIGURE_MODEL)
async def configure(request: web.Request) -> web.Response:
    """Change a model's configuration: fields that are absent stay, null ones go back to default.

    `force` sets also what is unwise, or cannot be loaded here.
    """
    context = request.app[CONTEXT]
    document = await json_body(request)
    if unknown := sorted(set(document) - _FIELDS):
        raise InvalidConfiguration(
            f"unknown fields: {', '.join(unknown)} (known: {', '.join(sorted(_FIELDS))})"
        )
    name = request.match_info.get("backend") or text_field(document, "backend")
    model = _model_id(context, text_field(document, "model", required=True) or "", name)
    backend = context.supervisor.keys.backend(name)
    changes = _changes(document)
    key = ConfigurationKey(backend.name, model, _mode(document))
    await context.supervisor.configuring.configure(
        key, changes, force=document.get("force") is True
    )
    return web.Response(status=202)


@ROUTES.get("/engines/_configure", Action.VIEW_RUNNERS)
@ROUTES.get("/engines/{backend}/_configure", Action.VIEW_RUNNERS)
async def configurations(request: web.Request) -> web.Response:
    """What owners configured, of one model or of all."""
    context = request.app[CONTEXT]
    wanted = request.query.get("model")
    backend = request.match_info.get("backend")
    wanted_id = _model_id(context, wanted, backend) if wanted else None
    tags = {str(model.id): model.tags for model in context.store.list()}
    return json_answer(
        [
            {
                "Backend": key.backend,
                "Model": (tags.get(key.model) or (key.model,))[0],
                "ModelID": key.model,
                "Mode": key.mode.value,
                "Config": configuration.to_json(),
            }
            for key, configuration in context.supervisor.configurations()
            if (key.model in tags or _is_external(context, key.backend))
            and wanted_id in (None, key.model)
        ]
    )


@ROUTES.get("/engines/requests", Action.VIEW_REQUESTS)
async def requests(request: web.Request) -> web.Response:
    """The newest inference requests, without their content."""
    context = request.app[CONTEXT]
    name = request.query.get("model")
    model = str(context.store.get(name).id) if name else None
    return json_answer([record.to_json() for record in context.records.list(model)])


@ROUTES.post("/engines/install-backend", Action.MANAGE_BACKENDS)
async def install_backend(request: web.Request) -> web.Response:
    """Install a backend; answers when it is done, `/engines/status` shows the progress."""
    context = request.app[CONTEXT]
    document = await json_body(request)
    backend = context.supervisor.keys.backend(text_field(document, "backend", required=True))
    async with aiohttp.ClientSession() as http:
        await backend.install(http)
    return web.Response()


def _model_id(context: Context, name: str, backend: str | None) -> str:
    """The id of the model that a name means to a backend, None for the default one.

    Raises errors.ModelNotFound, BackendNotFound.
    """
    if context.supervisor.keys.backend(backend).uses_external_model_management:
        return name
    return str(context.store.get(name).id)


def _is_external(context: Context, backend: str) -> bool:
    found = context.backends.get(backend)
    return found is not None and found.uses_external_model_management


def _model(context: Context, report: RunnerReport, names: Mapping[str, str]) -> tuple[str, str]:
    """Return id and name of the model that a runner is known by, of those that it serves.

    That is its first client's word for it, and another one once that name is gone or means another
    model.
    """
    try:
        id = str(context.store.get(report.model_ref).id)
    except ClientError:  # that name is gone
        id = ""
    if id in report.models:
        return id, report.model_ref
    return report.models[0], names.get(report.models[0], report.model_ref)


def _runner(report: RunnerReport) -> dict[str, object]:
    """Return a runner in DMR's words, with ours behind them."""
    return {
        "backend_name": report.backend,
        "model_name": report.model_ref,
        "mode": report.mode.value,
        "last_used": _NEVER if report.in_use else timestamp(report.last_used_at),
        "in_use": report.in_use > 0,
        "loading": report.state is RunnerState.STARTING,
        "keep_alive": format_duration(report.keep_alive),
        "id": report.id,
        "state": report.state,
        "requests": report.in_use,
        "waiting": report.waiting,
        "expires_at": None if report.expires_at is None else timestamp(report.expires_at),
        "ready_after_seconds": report.ready_after,
        "socket": report.socket,
        "slots": report.slots,
        "context": report.context or None,
        "memory_reserved": dict(report.reserved),
        "memory_used": None if report.held is None else dict(report.held),
        "memory_mapped": report.mapped,
        "pinned": report.pinned,
        "yields": report.draining,
        "failure": report.failure,
        "retry_at": None if report.retry_at is None else timestamp(report.retry_at),
    }


def _changes(document: dict[str, Any]) -> dict[str, Any]:
    """Return the members of a stored configuration that a request changes."""
    changes: dict[str, Any] = {
        name: document[name]
        for name in (
            "context-size",
            "runtime-flags",
            "speculative",
            "parallel",
            "placement",
            "engine",
            *_KEEPING,
        )
        if name in document
    }
    if "raw-runtime-flags" in document and "runtime-flags" not in changes:
        raw = document["raw-runtime-flags"]
        if not isinstance(raw, str):
            raise InvalidConfiguration("raw-runtime-flags must be a string")
        try:
            changes["runtime-flags"] = shlex.split(raw)
        except ValueError as error:
            raise InvalidConfiguration(f"raw-runtime-flags: {error}") from error
    if (engine := document.get("llamacpp")) is not None:
        budget = engine.get("reasoning-budget") if isinstance(engine, dict) else None
        if not isinstance(budget, int) or set(engine) != {"reasoning-budget"}:
            raise InvalidConfiguration("llamacpp takes one field, reasoning-budget, a number")
        flags = changes.get("runtime-flags") or []
        changes["runtime-flags"] = [*flags, "--reasoning-budget", str(budget)]
    return changes


def _mode(document: dict[str, Any]) -> BackendMode:
    mode = text_field(document, "mode")
    if mode is None:
        return BackendMode.COMPLETION
    try:
        return BackendMode(mode)
    except ValueError as error:
        known = ", ".join(BackendMode)
        raise InvalidConfiguration(
            f"unknown mode {mode!r} (known: {known})", param="mode"
        ) from error
