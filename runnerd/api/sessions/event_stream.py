"""A stream of server-sent events that are made while it is read, with comments while nothing comes.

What makes them is closed as soon as the client leaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from aiohttp import web

from runnerd import sse, tasks
from runnerd.api.context import OUTCOME, encode
from runnerd.errors import RunnerdError

_INTERVAL = 15.0  # seconds without an event until a comment is sent


async def stream_events(
    request: web.Request, events: AsyncGenerator[bytes, None]
) -> web.StreamResponse:
    """Answer with encoded events.  An error is raised before the first one, and told as an event
    `error` later.
    """
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    try:
        while True:
            try:
                event = await _next(request, response, events)
            except (RunnerdError, OSError) as error:
                if not response.prepared or isinstance(error, OSError):
                    raise
                await response.write(_error(request, error))
                break
            if event is None:
                break
            await _begin(request, response)
            await response.write(event)
        await _begin(request, response)
        await response.write_eof()
        return response
    finally:
        await events.aclose()


async def _next(
    request: web.Request, response: web.StreamResponse, events: AsyncGenerator[bytes, None]
) -> bytes | None:
    """The next event, None behind the last one; says now and then that it is being waited for."""
    coming = tasks.spawn(_step(events), name="next event")
    try:
        while not (await asyncio.wait([coming], timeout=_INTERVAL))[0]:
            await _begin(request, response)
            await response.write(sse.comment("waiting"))
        event = coming.result()
        if isinstance(event, RunnerdError):
            raise event
        return event
    finally:
        if not coming.done():
            await tasks.cancel_and_wait(coming)


async def _step(events: AsyncGenerator[bytes, None]) -> bytes | RunnerdError | None:
    """The next event or why there is none, which is for the client and not for the log."""
    try:
        return await anext(events, None)
    except RunnerdError as error:
        return error


async def _begin(request: web.Request, response: web.StreamResponse) -> None:
    if not response.prepared:
        await response.prepare(request)


def _error(request: web.Request, error: RunnerdError) -> bytes:
    request[OUTCOME] = error.status
    return sse.encoded(encode(error.body()), "error")
