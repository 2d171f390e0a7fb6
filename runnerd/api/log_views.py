"""`/logs`: what the daemon and its engines have logged."""

from __future__ import annotations

import asyncio
import contextlib

from aiohttp import web

from runnerd import threads
from runnerd.access import Action
from runnerd.api.context import CONTEXT, flag, models_of
from runnerd.api.docker_errors import DOCKER
from runnerd.api.routing import Routes
from runnerd.errors import ClientError, NotFound
from runnerd.observability.log_reader import MOST_LINES, About, LogReader

ROUTES = Routes()

_POLL = 0.5  # seconds between looks at the files, while somebody follows


@ROUTES.get("/logs", Action.VIEW_LOGS, DOCKER)
async def logs(request: web.Request) -> web.StreamResponse:
    """The daemon's log and, unless `no-engines`, the engines', by time.

    `lines` are the newest so many, `model` names one whose engines and lines are wanted, `follow`
    goes on until the client leaves or the daemon drains.
    """
    context = request.app[CONTEXT]
    lines, follow = _lines(request.query.get("lines")), flag(request, "follow")
    reader = LogReader(
        context.log_dir, engines=not flag(request, "no-engines"), about=_about(request)
    )
    if not await threads.run(reader.exists):
        raise NotFound("the daemon keeps no log file")
    response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
    if request.method != "GET":
        return response
    await response.prepare(request)
    await response.write(await threads.run(reader.read, lines))
    drains = context.observability.events.closed
    while follow and not drains.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_POLL):
                await drains.wait()
        if new := await threads.run(reader.read):
            await response.write(new)
    await response.write_eof()
    return response


def _lines(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or int(text[:9]) > MOST_LINES:
        raise ClientError(f"lines is a number from 0 to {MOST_LINES}", param="lines")
    return int(text)


def _about(request: web.Request) -> About | None:
    name = request.query.get("model")
    if not name:
        return None
    model = models_of(request).get(name)
    runners = request.app[CONTEXT].observability.runner_names.of(str(model.id))
    words = {name, model.name, *model.names, *runners}
    return About(set(runners), [word.encode() for word in words])
