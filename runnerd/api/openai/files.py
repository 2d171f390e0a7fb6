"""`/v1/files`: what is uploaded for batches, and what batches give back."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from runnerd import threads
from runnerd.access import Action
from runnerd.api.context import CONTEXT, json_response, principal_of
from runnerd.api.job_access import whose
from runnerd.api.openai.batch_results import BatchResult, result_file
from runnerd.api.routing import Routes
from runnerd.errors import ClientError, JobNotFound
from runnerd.jobs.batches.rows import StoredFile

ROUTES = Routes()
PREFIX = "/{prefix:(?:(?:openai/|engines/(?:llama\\.cpp/)?)?v1/)?}"

_PIECE = 256 * 2**10
_FIELD = 1000  # bytes of a field that is no file
_NAME_LETTERS = 255


@ROUTES.post(PREFIX + "files", Action.USE_JOBS)
async def upload(request: web.Request) -> web.Response:
    """Keep a file: `purpose` ("batch") and `file`, as a form, in this or the other order."""
    if not request.content_type.startswith("multipart/"):
        raise ClientError("a file is sent as multipart/form-data", param="file")
    kept = request.app[CONTEXT].jobs.files
    purpose, file = "", None
    try:
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                continue
            if part.name == "file" and file is None:
                name = "".join(c for c in part.filename or "file" if c.isprintable())
                file = await kept.add(
                    principal_of(request).id, name[-_NAME_LETTERS:], "batch", _pieces(part)
                )
            elif part.name == "purpose":
                purpose = (await part.read_chunk(_FIELD)).decode("utf-8", "replace")
        if file is None:
            raise ClientError("there is no file in the form", param="file")
        if purpose != "batch":
            raise ClientError('purpose is "batch": files are for batches here', param="purpose")
    except (ValueError, HttpProcessingError) as error:
        await _drop(request, file)
        raise ClientError(f"the form cannot be read: {error}") from error
    except BaseException:  # also of who leaves: it was not told that there is a file
        await _drop(request, file)
        raise
    return json_response(_shown(file))


async def _drop(request: web.Request, file: StoredFile | None) -> None:
    if file is not None:
        await request.app[CONTEXT].jobs.files.delete(file)


async def _pieces(part: BodyPartReader) -> AsyncIterator[bytes]:
    while piece := await part.read_chunk(_PIECE):
        yield piece


@ROUTES.get(PREFIX + "files", Action.USE_JOBS)
async def list_files(request: web.Request) -> web.Response:
    """The files that were uploaded, the newest first."""
    kept = request.app[CONTEXT].jobs.files
    found = await kept.list(whose(request), request.query.get("purpose"))
    shown = [_shown(file) for file in found]
    return json_response({"object": "list", "data": shown, "has_more": False} | ends(shown))


def ends(shown: list[dict[str, object]]) -> dict[str, object]:
    """The first and the last id of a page."""
    return {
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
    }


@ROUTES.get(PREFIX + "files/{id}", Action.USE_JOBS)
async def retrieve(request: web.Request) -> web.Response:
    """What is known of a file."""
    id = request.match_info["id"]
    if (result := await _result(request, id)) is not None:
        return json_response(await result.shown())
    file = await request.app[CONTEXT].jobs.files.get(id, whose(request))
    return json_response(_shown(file))


@ROUTES.get(PREFIX + "files/{id}/content", Action.USE_JOBS)
async def content(request: web.Request) -> web.StreamResponse:
    """A file's content."""
    id = request.match_info["id"]
    result = await _result(request, id)
    response = web.StreamResponse(headers={"Content-Type": "application/jsonl"})
    if result is not None:
        await response.prepare(request)
        async for line in result.lines():
            await response.write(line)
        await response.write_eof()
        return response
    kept = request.app[CONTEXT].jobs.files
    file = await kept.get(id, whose(request))
    opened = await threads.run_or_close(lambda: kept.open(file))
    try:
        response.content_length = file.size
        await response.prepare(request)
        while request.method == "GET" and (piece := await threads.run(opened.read, _PIECE)):
            await response.write(piece)
        await response.write_eof()
    finally:
        opened.close()
    return response


async def _result(request: web.Request, id: str) -> BatchResult | None:
    """What a batch gives back by the name of a file.  Raises errors.JobNotFound."""
    named = result_file(id)
    if named is None:
        return None
    batches = request.app[CONTEXT].jobs.batches
    batch_id, failed = named
    batch = await batches.get(batch_id, whose(request))
    result = BatchResult(batches, batch, failed=failed)
    if not await result.exists():
        raise JobNotFound(f"there is no file {id[:100]!r}")
    return result


@ROUTES.delete(PREFIX + "files/{id}", Action.USE_JOBS)
async def delete(request: web.Request) -> web.Response:
    """Forget a file; a batch that is being made of it fails."""
    kept = request.app[CONTEXT].jobs.files
    file = await kept.get(request.match_info["id"], whose(request))
    await kept.delete(file)
    return json_response({"id": file.id, "object": "file", "deleted": True})


def _shown(file: StoredFile) -> dict[str, object]:
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size,
        "created_at": int(file.created),
        "filename": file.name,
        "purpose": file.purpose,
        "status": "processed",
    }
