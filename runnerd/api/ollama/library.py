"""Ollama's routes that manage models: tags, ps, show, version, copy, delete, pull."""

from __future__ import annotations

import datetime
from typing import Any

from aiohttp import web

from runnerd.api.context import CONTEXT, Context, json_answer, json_body, text_field
from runnerd.api.models import remove_model
from runnerd.api.ollama.answers import NDJSON, line
from runnerd.errors import ClientError, RunnerdError
from runnerd.models.catalog import Model
from runnerd.models.intake import Progress
from runnerd.scheduler import FOREVER
from runnerd.supervisor import RunnerReport
from runnerd.supervisor.reports import FAILED

ROUTES = web.RouteTableDef()

VERSION = "0.33.0"
"""The version of Ollama whose API this is; its clients compare it."""

_AGES = 100 * 365 * 86400.0  # seconds; what the command shows as "Forever"
_LONGEST_ARRAY = 5  # entries; longer arrays are shown with `verbose` only


@ROUTES.get("/api/version")
async def version(request: web.Request) -> web.Response:
    """The version of the API."""
    return json_answer({"version": VERSION})


@ROUTES.get("/api/tags")
async def tags(request: web.Request) -> web.Response:
    """Every name of every model, the newest first."""
    models = request.app[CONTEXT].store.list()
    return json_answer(
        {"models": [_listed(model, name) for model in models for name in _names(model)]}
    )


@ROUTES.get("/api/ps")
async def ps(request: web.Request) -> web.Response:
    """Every loaded model, the one that stays longest first."""
    context = request.app[CONTEXT]
    by_id = {str(model.id): model for model in context.store.list()}
    reports = [
        report
        for report in context.supervisor.reports()
        if report.model in by_id and report.state != FAILED
    ]
    reports.sort(key=_expiry, reverse=True)
    return json_answer({"models": [_running(report, by_id[report.model]) for report in reports]})


@ROUTES.post("/api/show")
async def show(request: web.Request) -> web.Response:
    """Everything about a model."""
    context = request.app[CONTEXT]
    document = await json_body(request)
    model = context.store.get(_name(document))
    described = model.description
    verbose = document.get("verbose") is True
    facts = described.facts
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
    info["general.basename"] = _name(document)
    info.setdefault("general.parameter_count", 0)
    info[f"{described.architecture}.context_length"] = described.context_length or 0
    info[f"{described.architecture}.embedding_length"] = facts.embedding_length
    return json_answer(
        {
            "modelfile": f"FROM {model.id}\n",
            "parameters": "",
            "template": described.chat_template or "",
            "details": _details(model),
            "model_info": info,
            "capabilities": [_CAPABILITIES.get(name, name) for name in model.capabilities],
            "modified_at": _time(model.created),
        }
    )


_CAPABILITIES = {"reranking": "rerank"}


@ROUTES.post("/api/copy")
async def copy(request: web.Request) -> web.Response:
    """Give a model one more name."""
    document = await json_body(request)
    source = text_field(document, "source", required=True) or ""
    target = text_field(document, "destination", required=True) or ""
    request.app[CONTEXT].store.tag(source, target)
    return web.Response()


@ROUTES.delete("/api/delete")
async def delete(request: web.Request) -> web.Response:
    """Remove a name, and with the last one the model; Ollama's clients expect no questions."""
    await remove_model(request.app[CONTEXT], _name(await json_body(request)), force=True)
    return web.Response()


@ROUTES.post("/api/pull")
async def pull(request: web.Request) -> web.StreamResponse:
    """Pull a model; the transfer goes on when the client leaves."""
    context = request.app[CONTEXT]
    document = await json_body(request)
    name = _name(document)
    if document.get("stream") is False:
        await context.pulls.pull(name).result()
        return json_answer({"status": "success"})
    return await _stream_pull(request, context, name)


async def _stream_pull(request: web.Request, context: Context, name: str) -> web.StreamResponse:
    following = context.pulls.pull(name)
    response = web.StreamResponse(headers={"Content-Type": NDJSON.decode()})
    await response.prepare(request)
    await response.write(line({"status": "pulling manifest"}))
    try:
        async for progress in following:
            if progress.layer_size:
                await response.write(line(_transfer(progress)))
        await following.result()
    except RunnerdError as error:
        await response.write(line({"error": error.message}))
    else:
        for status in ("verifying sha256 digest", "writing manifest", "success"):
            await response.write(line({"status": status}))
    await response.write_eof()
    return response


def _transfer(progress: Progress) -> dict[str, Any]:
    digest = progress.layer
    return {
        "status": f"pulling {digest.removeprefix('sha256:')[:12]}",
        "digest": digest,
        "total": progress.layer_size,
        "completed": progress.layer_current,
    }


def _name(document: dict[str, Any]) -> str:
    name = text_field(document, "model") or text_field(document, "name")
    if name is None:
        raise ClientError("model is required", param="model")
    return name


def _names(model: Model) -> list[str]:
    return [_familiar(tag) for tag in model.tags] or [model.id.hex]


def _familiar(tag: str) -> str:
    """Return a tag as Ollama's clients write it: without our default organisation."""
    return tag.removeprefix("ai/")


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
    held = report.held or report.reserved
    name = _names(model)[0]
    return {
        **_listed(model, name),
        "size": sum(held.values()) or model.size_bytes,
        "size_vram": sum(size for device, size in held.items() if device.startswith("gpu")),
        "expires_at": _time(_expiry(report)),
        "context_length": model.description.context_length or 0,
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
