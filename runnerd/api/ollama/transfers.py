"""Ollama's `/api/pull` and `/api/push`: a job's progress in its statuses.

As everywhere, a job belongs to the daemon and goes on when its client leaves.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from runnerd.access import Action
from runnerd.api.context import CONTEXT, OUTCOME, json_body, json_response
from runnerd.api.ollama.errors import FAMILY, OLLAMA
from runnerd.api.ollama.names import model_name
from runnerd.api.ollama.responses import NDJSON, line
from runnerd.api.routing import Routes
from runnerd.api.visible_transfers import asker_of, check_may_be
from runnerd.errors import RunnerdError
from runnerd.models.intake import Progress
from runnerd.pulls.transfer_tasks import Kind, Subscription

ROUTES = Routes(OLLAMA, family=FAMILY)


@ROUTES.post("/api/pull", Action.DOWNLOAD_MODEL)
async def pull(request: web.Request) -> web.StreamResponse:
    """Pull a model."""
    document = await json_body(request)
    name = model_name(document)
    check_may_be(request, name)
    subscription = request.app[CONTEXT].pulls.pull(name, asker=asker_of(request))
    return await _response(
        request,
        subscription,
        stream=document.get("stream") is not False,
        first="pulling manifest",
        last=("verifying sha256 digest", "writing manifest", "success"),
    )


@ROUTES.post("/api/push", Action.UPLOAD_MODEL)
async def push(request: web.Request) -> web.StreamResponse:
    """Push a model to the registry that its name says."""
    document = await json_body(request)
    name = model_name(document)
    subscription = request.app[CONTEXT].pulls.push(name, asker=asker_of(request))
    return await _response(
        request,
        subscription,
        stream=document.get("stream") is not False,
        first="retrieving manifest",
        last=("pushing manifest", "success"),
    )


async def _response(
    request: web.Request,
    subscription: Subscription,
    *,
    stream: bool,
    first: str,
    last: tuple[str, ...],
) -> web.StreamResponse:
    """Answer with a job's statuses: the `first`, its progress, and in the end the `last` ones."""
    if not stream:
        await subscription.result()
        return json_response({"status": "success"})
    response = web.StreamResponse(headers={"Content-Type": NDJSON.decode()})
    await response.prepare(request)
    await response.write(line({"status": first}))
    try:
        async for progress in subscription:
            if progress.layer_size:
                await response.write(line(_transfer(progress, subscription.job.kind)))
        await subscription.result()
    except RunnerdError as error:
        request[OUTCOME] = error.status
        await response.write(line({"error": error.message}))
    else:
        for status in last:
            await response.write(line({"status": status}))
    await response.write_eof()
    return response


def _transfer(progress: Progress, kind: Kind) -> dict[str, Any]:
    digest = progress.layer
    return {
        "status": f"{kind}ing {digest.removeprefix('sha256:')[:12]}",
        "digest": digest,
        "total": progress.layer_size,
        "completed": progress.layer_current,
    }
