"""Answers that tell how work goes on, one line for each step, and end it when the client leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from runnerd import tasks
from runnerd.api.context import OUTCOME
from runnerd.durable import disk_errors
from runnerd.errors import InternalError, RunnerdError

Tell = Callable[[bytes], None]

_WAITING = 64  # lines; a slow client misses steps, never the end


async def stream_work(
    request: web.Request,
    work: Callable[[Tell], Awaitable[bytes]],
    *,
    content_type: str,
    failed: Callable[[RunnerdError], bytes],
) -> web.StreamResponse:
    """Answer with the lines that `work` tells, and with the one that it returns or that `failed`
    makes of its error.

    A failure before the first line is raised.  The work is cancelled when the client leaves.
    """
    lines: asyncio.Queue[bytes | None] = asyncio.Queue()
    job = tasks.spawn(_job(work, lines), name=f"work for {request.path}")
    response = web.StreamResponse(
        headers={"Content-Type": content_type, "Cache-Control": "no-cache"}
    )
    try:
        line = await lines.get()
        if line is None:
            await job  # raises what went wrong, unless nothing was to be reported
        await response.prepare(request)
        while line is not None:
            await response.write(line)
            line = await lines.get()
        try:
            last = await job
        except RunnerdError as error:
            request[OUTCOME] = error.status
            last = failed(error)
        except Exception:
            request[OUTCOME] = InternalError.status
            last = failed(InternalError())
        await response.write(last)
        await response.write_eof()
        return response
    finally:
        if not job.done():
            await tasks.cancel_and_wait(job)


async def _job(
    work: Callable[[Tell], Awaitable[bytes]], lines: asyncio.Queue[bytes | None]
) -> bytes:
    def tell(line: bytes) -> None:
        if lines.qsize() < _WAITING:
            lines.put_nowait(line)

    try:
        with disk_errors():
            return await work(tell)
    finally:
        lines.put_nowait(None)
