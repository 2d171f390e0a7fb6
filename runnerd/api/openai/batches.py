"""`/v1/batches`: a file of requests that are answered when there is time."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from runnerd.access import Action
from runnerd.api.context import CONTEXT, json_body, json_response, principal_of, text_field
from runnerd.api.job_access import whose
from runnerd.api.openai.batch_results import errors_id, output_id
from runnerd.api.openai.files import PREFIX, ends
from runnerd.api.routing import Routes
from runnerd.errors import ClientError
from runnerd.jobs.batches.rows import Batch
from runnerd.jobs.group_summary import GroupSummary
from runnerd.jobs.job import JobState
from runnerd.units import parse_span

ROUTES = Routes()

_USUAL, _MOST = 20, 100
_MOST_METADATA = 16
_METADATA_LETTERS = 512


@ROUTES.post(PREFIX + "batches", Action.USE_JOBS)
async def create(request: web.Request) -> web.Response:
    """Make a batch of a file that was uploaded."""
    context = request.app[CONTEXT]
    document = await json_body(request)
    endpoint = text_field(document, "endpoint", required=True) or ""
    if context.exchanges.route(endpoint) is None:
        raise ClientError(
            f"{endpoint[:100]!r} is no inference route, such as /v1/chat/completions",
            param="endpoint",
        )
    window = _window(text_field(document, "completion_window") or "24h")
    metadata = _metadata(document)
    file_id = text_field(document, "input_file_id", required=True) or ""
    file = await context.jobs.files.get(file_id, whose(request))
    batch = await context.jobs.batches.create(
        principal_of(request), file, endpoint, window, metadata
    )
    return await _response(request, batch)


def _window(text: str) -> tuple[str, float]:
    try:
        return text, parse_span(text)
    except ValueError as error:
        raise ClientError(str(error), param="completion_window") from error


def _metadata(document: dict[str, Any]) -> dict[str, str]:
    metadata = document.get("metadata") or {}
    if (
        not isinstance(metadata, dict)
        or len(metadata) > _MOST_METADATA
        or not all(
            isinstance(value, str) and len(value) <= _METADATA_LETTERS
            for pair in metadata.items()
            for value in pair
        )
    ):
        raise ClientError(f"metadata is at most {_MOST_METADATA} short texts", param="metadata")
    return metadata


@ROUTES.get(PREFIX + "batches", Action.USE_JOBS)
async def list_batches(request: web.Request) -> web.Response:
    """Batches, the newest first; `after` is an id to go on behind, `limit` how many."""
    said = request.query.get("limit", str(_USUAL))
    if not said.isascii() or not said.isdigit() or not 0 < int(said[:6]) <= _MOST:
        raise ClientError(f"limit is a number from 1 to {_MOST}", param="limit")
    limit = int(said)
    batches = request.app[CONTEXT].jobs.batches
    found = await batches.list(whose(request), request.query.get("after"), limit + 1)
    shown = [batch_json(batch, await batches.summary(batch)) for batch in found[:limit]]
    more = len(found) > limit
    return json_response({"object": "list", "data": shown, "has_more": more} | ends(shown))


@ROUTES.get(PREFIX + "batches/{id}", Action.USE_JOBS)
async def retrieve(request: web.Request) -> web.Response:
    """How a batch stands."""
    return await _response(request, await _find(request))


@ROUTES.post(PREFIX + "batches/{id}/cancel", Action.USE_JOBS)
async def cancel(request: web.Request) -> web.Response:
    """Cancel what has not ended of a batch; what has stays in its files."""
    batch = await _find(request)
    return await _response(request, await request.app[CONTEXT].jobs.batches.cancel(batch))


async def _find(request: web.Request) -> Batch:
    return await request.app[CONTEXT].jobs.batches.get(request.match_info["id"], whose(request))


async def _response(request: web.Request, batch: Batch) -> web.Response:
    summary = await request.app[CONTEXT].jobs.batches.summary(batch)
    return json_response(batch_json(batch, summary))


def status_of(batch: Batch, summary: GroupSummary) -> str:
    """How a batch stands, in OpenAI's words."""
    if batch.stage in ("validating", "failed"):
        return batch.stage
    if summary.open:
        return "cancelling" if batch.stage == "cancelled" else "in_progress"
    if batch.stage == "cancelled":
        return "cancelled"
    return "expired" if summary.states.get(JobState.EXPIRED) else "completed"


def batch_json(batch: Batch, summary: GroupSummary) -> dict[str, object]:
    """A batch as OpenAI's clients know it."""
    status, states = status_of(batch, summary), summary.states
    completed = states.get(JobState.COMPLETED, 0)
    ended = sum(number for state, number in states.items() if state.ended)
    over = None if summary.ended is None else int(summary.ended)
    changed = int(batch.changed)
    faults = [
        {"code": fault.code, "message": fault.message, "line": fault.line, "param": fault.param}
        for fault in batch.faults
    ]
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": {"object": "list", "data": faults} if faults else None,
        "input_file_id": batch.file,
        "completion_window": batch.window,
        "status": status,
        "output_file_id": output_id(batch) if completed else None,
        "error_file_id": errors_id(batch) if ended > completed else None,
        "created_at": int(batch.created),
        "in_progress_at": changed if batch.stage == "submitted" else None,
        "expires_at": int(batch.deadline),
        "finalizing_at": over if status == "completed" else None,
        "completed_at": over if status == "completed" else None,
        "failed_at": changed if status == "failed" else None,
        "expired_at": over if status == "expired" else None,
        "cancelling_at": changed if batch.stage == "cancelled" else None,
        "cancelled_at": changed if status == "cancelled" else None,
        "request_counts": {
            "total": batch.total,
            "completed": completed,
            "failed": ended - completed,
        },
        "metadata": dict(batch.metadata) or None,
    }
