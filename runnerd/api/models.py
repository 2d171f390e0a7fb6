"""`/models`: the store in the words of Docker Model Runner, and `/v1/models` in those of OpenAI."""

from __future__ import annotations

import re
from typing import Any

from aiohttp import hdrs, web

from runnerd import threads
from runnerd.access import Action
from runnerd.api.anthropic.listing import asks, entry, page
from runnerd.api.context import (
    CONTEXT,
    Context,
    authorize,
    flag,
    form_of,
    is_owner,
    json_response,
    models_of,
)
from runnerd.api.docker_errors import DOCKER
from runnerd.api.removal import forget_removed, remove_model
from runnerd.api.routing import Routes
from runnerd.api.visible_transfers import asker_of
from runnerd.errors import (
    ClientError,
    Conflict,
    InvalidModelFile,
    ModelNotFound,
    NotFound,
)
from runnerd.models.model import Model

ROUTES = Routes()

_OWNER = "runnerd"


@ROUTES.get("/models", Action.VIEW_MODELS, DOCKER)
async def list_models(request: web.Request) -> web.Response:
    """Every model in the store, as an array."""
    return json_response([model.to_json() for model in models_of(request).models()])


@ROUTES.get("/models/{name:.+}/export", Action.EXPORT_MODEL, DOCKER)
async def export_model(request: web.Request) -> web.StreamResponse:
    """A model as a tar archive that `/models/load` takes: in Docker Model Runner's form or, with
    `format=modelpack`, as an OCI image layout with a CNCF ModelPack model.
    """
    store, name = request.app[CONTEXT].store, request.match_info["name"]
    form = form_of(request)
    packed = await threads.run_or_close(lambda: store.pack(name, form))
    file = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:128]
    with packed:
        response = web.StreamResponse(
            headers={
                "Content-Type": "application/x-tar",
                "Content-Disposition": f'attachment; filename="{file}.tar"',
                "Content-Length": str(packed.size),
            }
        )
        await response.prepare(request)
        if request.method != hdrs.METH_HEAD:
            async for chunk in packed.chunks():
                await response.write(chunk)
        await response.write_eof()
    return response


@ROUTES.get("/models/{name:.+}", Action.VIEW_MODELS, DOCKER)
async def inspect_model(request: web.Request) -> web.Response:
    """One model by any of its names; with `remote`, what its source says of it now."""
    context, name = request.app[CONTEXT], request.match_info["name"]
    if flag(request, "remote"):
        authorize(request, Action.DOWNLOAD_MODEL)
        return json_response(await context.pulls.look(name, asker=asker_of(request)))
    model = models_of(request).get(name)
    document: dict[str, Any] = model.to_json()
    if draft := _draft_of(request, model):
        document["runnerd"] |= {"draft_model": draft}
    if model.borrowed_bytes and is_owner(request):  # where they lie is nobody else's business
        document["borrowed_files"] = context.store.borrowed(model)
    return json_response(document)


def _draft_of(request: web.Request, model: Model) -> str | None:
    """What the model is called that drafts for one, for who may know of it."""
    said = request.app[CONTEXT].drafts.of(str(model.id))
    if said is None:
        return None
    try:
        return models_of(request).get(said.draft_model).name
    except InvalidModelFile:
        return said.draft_model
    except ModelNotFound:
        return f"{said.draft_model}, which is not here" if is_owner(request) else None


@ROUTES.post("/models/{name:.+}/tag", Action.CREATE_MODEL, DOCKER)
async def tag_model(request: web.Request) -> web.Response:
    """Give a model one more name: `?repo=R&tag=T`."""
    repository = request.query.get("repo", "")
    if not repository:
        raise ClientError("the query parameter repo is required", param="repo")
    tag = request.query.get("tag") or "latest"
    store = request.app[CONTEXT].store
    target = await threads.run(store.names.tag, request.match_info["name"], f"{repository}:{tag}")
    return json_response({"message": "Model tagged successfully", "target": target}, status=201)


@ROUTES.post("/models/{name:.+}/{action}", Action.PUBLIC, DOCKER)
async def unknown_action(request: web.Request) -> web.Response:
    raise NotFound(f"unknown action {request.match_info['action']!r}")


@ROUTES.delete("/models/purge", Action.DELETE_MODEL, DOCKER)
async def purge_models(request: web.Request) -> web.Response:
    """Delete every model; refused while one is in use, unless forced.

    Where a model is called `purge` it may be meant instead: `all` says that everything is.
    """
    context = request.app[CONTEXT]
    force = flag(request, "force")
    if not flag(request, "all"):
        _refuse_if_named(context, "purge")
    models = list(context.store.list())
    for model in models:
        await context.supervisor.removing.unload_model(str(model.id), force=force)
    try:
        await threads.run(context.store.names.purge)
    finally:
        for model in models:
            await forget_removed(context, str(model.id), model.load, shared=False)
    return web.Response()


def _refuse_if_named(context: Context, name: str) -> None:
    """Raise errors.Conflict where a model has this name, which is a path of its own, too."""
    try:
        context.store.identify(name)
    except ModelNotFound:
        return
    raise Conflict(
        f"a model is called {name}: DELETE /models/ai/{name}:latest removes it,"
        f" DELETE /models/{name}?all=true every model"
    )


@ROUTES.delete("/models/{name:.+}", Action.DELETE_MODEL, DOCKER)
async def delete_model(request: web.Request) -> web.Response:
    """Remove a name; with the last name, or by id, the model itself."""
    removed = await remove_model(
        request.app[CONTEXT], request.match_info["name"], force=flag(request, "force")
    )
    return json_response([{kind: what} for kind, what in removed])


@ROUTES.get("/v1/models", Action.VIEW_MODELS)
@ROUTES.get("/anthropic/v1/models", Action.VIEW_MODELS)
@ROUTES.get("/openai/v1/models", Action.VIEW_MODELS)
@ROUTES.get("/engines/v1/models", Action.VIEW_MODELS)
@ROUTES.get("/engines/{backend}/v1/models", Action.VIEW_MODELS)
async def list_openai_models(request: web.Request) -> web.Response:
    """Every name of every model, as OpenAI's clients list them, or Anthropic's."""
    models = models_of(request).models()
    if asks(request):
        return json_response(page(models))
    return json_response(
        {
            "object": "list",
            "data": [_openai(model, name) for model in models for name in model.names],
        }
    )


@ROUTES.get("/v1/models/{name:.+}", Action.VIEW_MODELS)
@ROUTES.get("/anthropic/v1/models/{name:.+}", Action.VIEW_MODELS)
@ROUTES.get("/openai/v1/models/{name:.+}", Action.VIEW_MODELS)
@ROUTES.get("/engines/v1/models/{name:.+}", Action.VIEW_MODELS)
@ROUTES.get("/engines/{backend}/v1/models/{name:.+}", Action.VIEW_MODELS)
async def get_openai_model(request: web.Request) -> web.Response:
    """One model, as OpenAI's clients get it, or Anthropic's."""
    model = models_of(request).get(request.match_info["name"])
    named = entry if asks(request) else _openai
    return json_response(named(model, model.name))


def _openai(model: Model, name: str) -> dict[str, object]:
    config = model.config
    about = {
        "context_window": model.context_length,
        "architecture": config.architecture,
        "parameters": config.parameters,
        "quantization": config.quantization,
        "size": config.size,
    }
    return {
        "id": name,
        "object": "model",
        "created": model.created,
        "owned_by": _OWNER,
        "dmr": {name: value for name, value in about.items() if value},
    }
