"""What owners configure per model: on our own route, and as Docker Model Runner's clients do."""

from __future__ import annotations

import difflib
import shlex
from functools import partial
from typing import Any

from aiohttp import web

from runnerd.access import Action
from runnerd.api.context import (
    CONTEXT,
    Context,
    json_body,
    json_response,
    models_of,
    principal_of,
    text_field,
)
from runnerd.api.docker_errors import DOCKER
from runnerd.api.model_ids import is_external, model_id
from runnerd.api.routing import Routes
from runnerd.backends.configuration import BackendMode
from runnerd.configurations import NAMED, ConfigurationKey, configuration_schema
from runnerd.errors import InvalidConfiguration, ModelNotFound
from runnerd.models.catalog import shown
from runnerd.models.reference import parse_tag
from runnerd.relay.visible_models import VisibleModels

ROUTES = Routes()

_TOLD, _LONGEST = 3, 64  # unknown fields, and letters of each, that an error names

_THEIR_BACKENDS = frozenset({"vllm", "vllm-metal", "sglang", "mlx", "diffusers"})
"""Backends of Docker Model Runner's; for a GGUF model it takes llama.cpp, whatever was named."""

_REPLACED = ("context-size", "runtime-flags", "speculative", "keep_alive")
"""What its clients send whole: a field that they leave out is back at its default."""

_KEEPING = (
    "keep_alive", "min_instances", "max_instances", "pinned", "exclusive_group", "preload",
    "preload_prefix", "completion_defaults", "forced_parameters", "stripped_parameters",
)  # fmt: skip
_FIELDS = frozenset(
    {
        "model", "mode", "context-size", "runtime-flags", "raw-runtime-flags", "speculative",
        "llamacpp", "vllm", "backend", "parallel", "placement", "engine", "isolate_users",
        "force", *_KEEPING,
    }
)  # fmt: skip


@ROUTES.post("/models/{name:.+}/configure", Action.CONFIGURE_MODEL)
async def configure_model(request: web.Request) -> web.Response:
    """Change a model's configuration: fields that are absent stay, null ones go back to default.

    `force` sets also what is unwise, or cannot be loaded here.
    """
    document = await json_body(request)
    document["model"] = request.match_info["name"]
    await _configure(request, document, text_field(document, "backend"), {})
    return web.Response(status=202)


@ROUTES.post("/engines/_configure", Action.CONFIGURE_MODEL, DOCKER)
@ROUTES.post("/engines/{backend}/_configure", Action.CONFIGURE_MODEL, DOCKER)
async def configure(request: web.Request) -> web.Response:
    """Configure a model as Docker Model Runner does: what its clients can say is replaced whole.

    They have no way to say null.  The fields that only we have stay where they are absent.
    """
    document = await json_body(request)
    name = request.match_info.get("backend") or text_field(document, "backend")
    backend = None if name in _THEIR_BACKENDS else name
    try:
        await _configure(request, document, backend, dict.fromkeys(_REPLACED))
    except ModelNotFound:
        return await _configure_name(request.app[CONTEXT], document, backend)
    return web.Response(status=202)


async def _configure_name(
    context: Context, document: dict[str, Any], backend_name: str | None
) -> web.Response:
    """Configure what is not here, as Docker Model Runner does; it counts once it is."""
    name = str(parse_tag(text_field(document, "model", required=True) or ""))
    backend = context.supervisor.keys.backend(backend_name)
    key = ConfigurationKey(backend.name, f"{NAMED}{name}", _mode(document))
    changes = dict.fromkeys(_REPLACED) | _changes(document)
    await context.supervisor.configuring.configure_name(key, changes)
    warning = f'199 - "{name} is not here; this counts from when it is pulled"'
    return web.Response(status=202, headers={"Warning": warning})


def _unknown(name: str) -> str:
    """A field that there is not, with the one that may be meant."""
    told = shown(name[:_LONGEST])
    if near := difflib.get_close_matches(name[:_LONGEST].lower(), _FIELDS, 1):
        return f"{told} (did you mean {near[0]}?)"
    return f"{told} (docs/configuration.md has all that there are)"


async def _configure(
    request: web.Request, document: dict[str, Any], backend_name: str | None, before: dict[str, Any]
) -> None:
    """Make the changes that a document says, after those of `before`."""
    if unknown := sorted(set(document) - _FIELDS):
        raise InvalidConfiguration(f"unknown fields: {', '.join(map(_unknown, unknown[:_TOLD]))}")
    context, name = request.app[CONTEXT], text_field(document, "model", required=True) or ""
    backend = context.supervisor.keys.backend(backend_name)
    key = ConfigurationKey(backend.name, model_id(request, name, backend_name), _mode(document))
    await context.supervisor.configuring.configure(
        key, before | _changes(document), force=document.get("force") is True
    )


@ROUTES.get("/runnerd/configuration/schema", Action.PUBLIC)
async def schema(request: web.Request) -> web.Response:
    """What can be configured, as JSON Schema: every field with its help."""
    return json_response(configuration_schema())


@ROUTES.get("/engines/_configure", Action.VIEW_RUNNERS, DOCKER)
@ROUTES.get("/engines/{backend}/_configure", Action.VIEW_RUNNERS, DOCKER)
async def configurations(request: web.Request) -> web.Response:
    """What owners configured, of one model or of all."""
    context = request.app[CONTEXT]
    wanted = request.query.get("model")
    wanted_id = model_id(request, wanted, request.match_info.get("backend")) if wanted else None
    tags = {str(model.id): model.tags for model in models_of(request).models()}
    visible = partial(VisibleModels(context.store, context.policy).may_be, principal_of(request))
    return json_response(
        [
            {
                "Backend": key.backend,
                "Model": (tags.get(key.model) or (key.model,))[0],
                "ModelID": key.model,
                "Mode": key.mode.value,
                "Config": configuration.to_json(),
            }
            for key, configuration in context.supervisor.configurations()
            if (key.model in tags or (is_external(context, key.backend) and visible(key.model)))
            and wanted_id in (None, key.model)
        ]
    )


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
            "isolate_users",
            *_KEEPING,
        )
        if name in document
    }
    raw = document.get("raw-runtime-flags")
    if raw is not None and changes.get("runtime-flags") is None:
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
