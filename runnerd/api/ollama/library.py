"""Ollama's routes that manage models: tags, ps, show, version, copy, delete."""

from __future__ import annotations

import datetime
from typing import Any

import msgspec
from aiohttp import web

from runnerd import threads
from runnerd.access import Action
from runnerd.api.context import CONTEXT, json_body, json_response, models_of, text_field
from runnerd.api.ollama.errors import FAMILY, OLLAMA
from runnerd.api.ollama.modelfiles import modelfile_text, parameters_text
from runnerd.api.ollama.names import familiar, model_name
from runnerd.api.removal import remove_model
from runnerd.api.routing import Routes
from runnerd.api.visible_runners import reports_of
from runnerd.models.manifest import LICENSE_TYPE
from runnerd.models.model import Model
from runnerd.scheduler import FOREVER, RunnerState
from runnerd.supervisor import RunnerReport

ROUTES = Routes(OLLAMA, family=FAMILY)

VERSION = "0.33.0"
"""The version of Ollama whose API this is; its clients compare it."""

_AGES = 100 * 365 * 86400.0  # seconds; what the command shows as "Forever"
_LONGEST_ARRAY = 5  # entries; longer arrays are shown with `verbose` only


@ROUTES.get("/api/version", Action.PUBLIC)
async def version(request: web.Request) -> web.Response:
    """The version of the API."""
    return json_response({"version": VERSION})


@ROUTES.get("/api/status", Action.PUBLIC)
async def status(request: web.Request) -> web.Response:
    """That there is no cloud behind this server."""
    return json_response({"cloud": {"disabled": True, "source": "runnerd"}})


@ROUTES.get("/api/tags", Action.VIEW_MODELS)
async def tags(request: web.Request) -> web.Response:
    """Every name of every model, the newest first."""
    models = models_of(request).models()
    return json_response(
        {"models": [_listed(model, name) for model in models for name in _names(model)]}
    )


@ROUTES.get("/api/ps", Action.VIEW_RUNNERS)
async def ps(request: web.Request) -> web.Response:
    """Every loaded model, the one that stays longest first."""
    by_id = {str(model.id): model for model in models_of(request).models()}
    reports = [report for report in reports_of(request) if report.state is not RunnerState.FAILED]
    reports.sort(key=_expiry, reverse=True)
    return json_response(
        {
            "models": [
                _running(report, by_id[model])
                for report in reports
                for model in report.models
                if model in by_id
            ]
        }
    )


@ROUTES.post("/api/show", Action.VIEW_MODELS)
async def show(request: web.Request) -> web.Response:
    """Everything about a model."""
    context = request.app[CONTEXT]
    document = await json_body(request)
    name = model_name(document)
    model = models_of(request).get(name)
    made = model.description.modelfile
    licenses = await threads.run(context.store.texts, model, LICENSE_TYPE)
    shown: dict[str, Any] = {
        "modelfile": modelfile_text(model, name, licenses),
        "parameters": parameters_text(made),
        "template": made.template or model.chat_template or "",
        "details": _details(model),
        "model_info": _info(model, name, verbose=document.get("verbose") is True),
        "capabilities": [_CAPABILITIES.get(name, name) for name in model.capabilities],
        "modified_at": _time(model.created),
        "license": "\n".join(licenses),
        "system": made.system,
        "messages": msgspec.to_builtins(made.messages),
    }
    return json_response({key: value for key, value in shown.items() if value or key in _ALWAYS})


def _info(model: Model, name: str, *, verbose: bool) -> dict[str, Any]:
    described = model.description
    info: dict[str, Any] = {
        key: _number(text)
        for key, text in described.metadata.items()
        if verbose
        or (
            key not in ("general.name", "tokenizer.chat_template")
            and text.count(",") < _LONGEST_ARRAY
        )
    }
    info["general.architecture"] = described.architecture
    info["general.basename"] = name
    info.setdefault("general.parameter_count", described.parameter_count)
    info[f"{described.architecture}.context_length"] = described.context_length or 0
    info[f"{described.architecture}.embedding_length"] = described.facts.embedding_length
    return info


_ALWAYS = ("modelfile", "parameters", "template", "details", "model_info", "capabilities")
_CAPABILITIES = {"reranking": "rerank"}


@ROUTES.post("/api/copy", Action.CREATE_MODEL)
async def copy(request: web.Request) -> web.Response:
    """Give a model one more name."""
    document = await json_body(request)
    source = text_field(document, "source", required=True) or ""
    target = text_field(document, "destination", required=True) or ""
    store = request.app[CONTEXT].store
    await threads.run(store.names.tag, source, target)
    return web.Response()


@ROUTES.delete("/api/delete", Action.DELETE_MODEL)
async def delete(request: web.Request) -> web.Response:
    """Remove a name, and with the last one the model; Ollama's clients expect no questions."""
    context, name = request.app[CONTEXT], model_name(await json_body(request))
    await remove_model(context, name, force=True)
    return web.Response()


def _names(model: Model) -> list[str]:
    return [familiar(name) for name in model.names]


def _listed(model: Model, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "model": name,
        "modified_at": _time(model.created),
        "size": model.size_bytes,
        "digest": model.id.hex,
        "details": _details(model),
        "capabilities": list(model.capabilities),
    }


def _details(model: Model) -> dict[str, Any]:
    described = model.description
    return {
        "parent_model": "",
        "format": "gguf",
        "family": described.architecture,
        "families": [described.architecture],
        "parameter_size": described.parameters.replace(" ", ""),
        "quantization_level": described.quantization,
    }


def _running(report: RunnerReport, model: Model) -> dict[str, Any]:
    # Mapped weights are the page cache's, and in use all the same: `size` has both.
    held = report.held or report.reserved
    mapped = min(report.mapped or 0, model.size_bytes) if report.held else 0
    name = _names(model)[0]
    return {
        **_listed(model, name),
        "size": sum(held.values()) + mapped or model.size_bytes,
        "size_mapped": mapped,
        "size_vram": sum(size for device, size in held.items() if device.startswith("gpu")),
        "expires_at": _time(_expiry(report)),
        "context_length": report.context or model.context_length or 0,
    }


def _expiry(report: RunnerReport) -> float:
    """Return Unix time: of a runner in use, when it would expire if it ended now."""
    if report.keep_alive == FOREVER:
        return report.last_used_at + _AGES
    return report.expires_at or report.last_used_at + report.keep_alive


def _number(text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        return text


def _time(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
