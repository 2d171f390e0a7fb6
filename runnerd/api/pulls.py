"""`/models`: getting models from elsewhere and giving them to registries.

A pull belongs to the daemon: it goes on when its client leaves, a second request for the same
model follows it, and `DELETE /models/pulls/{id}` ends it.
"""

from __future__ import annotations

from aiohttp import web

from runnerd import threads
from runnerd.access import Action
from runnerd.api.context import (
    CONTEXT,
    SUBJECT,
    form_of,
    json_body,
    json_response,
    text_field,
)
from runnerd.api.docker_errors import DOCKER
from runnerd.api.progress import stream_job
from runnerd.api.routing import Routes
from runnerd.api.visible_transfers import (
    asker_of,
    check_may_be,
    transfer_of,
    transfers_of,
)
from runnerd.errors import ClientError
from runnerd.llms.entry import LLMRegistryEntry
from runnerd.llms.links import is_link, parse_link
from runnerd.pulls import weblink

ROUTES = Routes()


@ROUTES.post("/models/create", Action.DOWNLOAD_MODEL, DOCKER)
async def pull_model(request: web.Request) -> web.StreamResponse:
    """Pull a model; the response is a stream of progress lines."""
    document = await json_body(request)
    reference = text_field(document, "from", required=True)
    assert reference is not None
    tag = text_field(document, "tag")
    drafts = document.get("draft", True)
    if not isinstance(drafts, bool):
        raise ClientError("draft must be true or false", param="draft")
    if is_link(reference):
        return await _download(request, parse_link(reference), drafts=drafts)
    check_may_be(request, reference)
    if tag is not None:
        check_may_be(request, tag)
    subscription = request.app[CONTEXT].pulls.pull(
        reference,
        token=text_field(document, "bearer-token"),
        revision=text_field(document, "revision"),
        sha256=text_field(document, "sha256"),
        tag=tag,
        drafts=drafts,
        asker=asker_of(request),
    )
    return await stream_job(request, subscription)


async def _download(
    request: web.Request, entry: LLMRegistryEntry, *, drafts: bool
) -> web.StreamResponse:
    """Pull what one of Pantry's links names; its registry entry is kept."""
    request[SUBJECT] = f"{entry.id} {weblink.shown(entry.url)}"
    check_may_be(request, entry.url)
    downloads = request.app[CONTEXT].llms.downloads
    download = downloads.start(entry, asker_of(request), drafts=drafts)
    return await stream_job(request, downloads.followed(download))


@ROUTES.get("/models/pulls", Action.VIEW_MODELS)
async def list_pulls(request: web.Request) -> web.Response:
    """The pulls and pushes that are under way."""
    return json_response([job.to_json() for job in transfers_of(request)])


@ROUTES.delete("/models/pulls/{id}", Action.DOWNLOAD_MODEL)
async def cancel_pull(request: web.Request) -> web.Response:
    """End a pull or push; what has arrived stays for the next attempt."""
    job = request.app[CONTEXT].pulls.cancel(transfer_of(request, request.match_info["id"]).id)
    await job.wait_ended()
    return json_response({"cancelled": job.id, "model": job.reference})


@ROUTES.post("/models/prune", Action.DELETE_MODEL)
async def prune(request: web.Request) -> web.Response:
    """Remove what no model has and no pull uses; `older` keeps parts that are younger (seconds)."""
    try:
        age = float(request.query.get("older", "0"))
    except ValueError:
        raise ClientError("older must be a number of seconds", param="older") from None
    freed = await threads.run(request.app[CONTEXT].store.names.prune, age=age)
    return json_response({"freed_bytes": freed})


@ROUTES.post("/models/{name:.+}/push", Action.UPLOAD_MODEL, DOCKER)
async def push_model(request: web.Request) -> web.StreamResponse:
    """Push a model to the registry that its name says; `format=modelpack`: as a CNCF ModelPack."""
    form = form_of(request)
    token = None
    if request.body_exists:
        token = text_field(await json_body(request), "bearer-token")
    subscription = request.app[CONTEXT].pulls.push(
        request.match_info["name"],
        token=token,
        asker=asker_of(request),
        form=form,
    )
    return await stream_job(request, subscription)


@ROUTES.post("/models/{name:.+}/repackage", Action.CREATE_MODEL, DOCKER)
async def repackage_model(request: web.Request) -> web.Response:
    """Make a model of the same files with another context size."""
    document = await json_body(request)
    target = text_field(document, "target", required=True)
    assert target is not None
    size = document.get("context_size")
    if size is not None and (type(size) is not int or not 0 < size < 2**31):
        raise ClientError("context_size must be a positive number of tokens", param="context_size")
    store, source = request.app[CONTEXT].store, request.match_info["name"]
    tag = await threads.run(store.entrance.repackage, source, target, size)
    return json_response(
        {"message": "Model repackaged successfully", "source": source, "target": tag}, status=201
    )
