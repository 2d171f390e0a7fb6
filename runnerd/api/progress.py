"""Progress as Docker Model Runner's clients read it: one JSON object a line.

`total` and `layer` are always there.  The raw JSON is sent whatever the client accepts: the docker
client un-escapes what it reads, which does no harm to JSON that was never escaped.
"""

from __future__ import annotations

from aiohttp import web

from runnerd.api.context import OUTCOME, encode
from runnerd.errors import RunnerdError
from runnerd.models.intake import Progress
from runnerd.pulls.transfer_tasks import Subscription
from runnerd.units import binary_size

_DONE = {"pull": "Model pulled successfully", "push": "Model pushed successfully"}
_VERBS = {"pull": "Downloaded", "push": "Uploaded"}


def progress_line(event: Progress, verb: str, mode: str = "pull") -> bytes:
    """Return the line for one step."""
    layer: dict[str, object] = {"size": event.layer_size, "current": event.layer_current}
    if event.name:
        layer["name"] = event.name
    return _encoded(
        {
            "type": "progress",
            "message": event.message or f"{verb}: {event.layer_current / 1e6:.2f} MB",
            "total": event.total,
            "layer": {"id": event.layer, **layer} if event.layer else layer,
            "mode": mode,
        }
    )


def final_line(kind: str, message: str, *, mode: str = "pull", **more: object) -> bytes:
    """Return the last line: a `success`, or an `error`."""
    empty = {"id": "", "size": 0, "current": 0}
    return _encoded(
        {"type": kind, "message": message, "total": 0, "layer": empty, "mode": mode, **more}
    )


async def stream_job(request: web.Request, subscription: Subscription) -> web.StreamResponse:
    """Answer with a job's progress until it ends or the client leaves; the job goes on then.

    A failure before the first step is an ordinary error; later it is a line of type `error`.
    """
    job = subscription.job
    response = web.StreamResponse(
        headers={
            "Content-Type": "application/json",
            "Cache-Control": "no-cache",
            "X-Runnerd-TransferTask": job.id,
        }
    )
    try:
        async for event in subscription:
            if not response.prepared:
                await response.prepare(request)
            await response.write(progress_line(event, _VERBS[job.kind], job.kind))
        model = subscription.model
    except RunnerdError as error:
        if not response.prepared:
            raise
        request[OUTCOME] = error.status
        line = final_line("error", error.message, mode=job.kind)
    else:
        message = _DONE[job.kind]
        if job.kind == "pull" and not job.moved:
            message = f"Using cached model: {binary_size(model.size_bytes)}"
        line = final_line("success", message, mode=job.kind, model=model.to_json())
    if not response.prepared:
        await response.prepare(request)
    await response.write(line)
    await response.write_eof()
    return response


def _encoded(document: object) -> bytes:
    return encode(document) + b"\n"
