"""GridRepublic's jobs, at `/jobs` and at the path that they have published.

Submitting and asking for the status are theirs; listing, cancelling and deleting are not published
and our own (docs/jobs.md).
"""

from __future__ import annotations

import datetime

import msgspec
from aiohttp import web

from runnerd.access import Action
from runnerd.api.context import CONTEXT, json_body, json_response, principal_of
from runnerd.api.gridrepublic.command_lines import APPLICATION, Submission, read
from runnerd.api.gridrepublic.errors import GRIDREPUBLIC
from runnerd.api.job_access import (
    id_of,
    listed,
    model_asked,
    of_asker,
    queue_of,
    selection,
    whose,
)
from runnerd.api.routing import Routes
from runnerd.errors import ClientError, JobNotFound
from runnerd.jobs.job import Job, JobState, NewJob, Prompt, new_id

ROUTES = Routes(GRIDREPUBLIC, family="/remotejobs/")

_PATHS = ("/remotejobs/v2/jobs", "/jobs")
_MOST_IDS = 1000

_STATES = {
    JobState.QUEUED: "provisioning",
    JobState.RUNNING: "running",
    JobState.COMPLETED: "completed",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "aborted",
    JobState.EXPIRED: "aborted",
}


async def submit(request: web.Request) -> web.Response:
    """Submit a job, or as many as `copies` says; all inputs of one are in the same job."""
    document = await json_body(request)
    said = read(document)
    model = model_asked(request, said.tag)
    group = new_id() if said.copies > 1 else ""
    jobs = await queue_of(request).submit(
        [
            NewJob(
                principal_of(request),
                model,
                tuple(_prompt(said, text) for text in said.inputs),
                runtime=said.hours * 3600,
                group=group,
                copy=copy,
                streams=True,
                details={"app": said.app, "commandLine": said.command_line, "tag": said.tag},
            )
            for copy in range(said.copies)
        ]
    )
    return json_response({"success": True, "ids": [job.id for job in jobs]})


def _prompt(said: Submission, text: str) -> Prompt:
    body = {"model": said.tag, "messages": [{"role": "user", "content": text}]}
    return Prompt("/v1/chat/completions", msgspec.json.encode(body))


async def status(request: web.Request) -> web.Response:
    """How jobs stand, of as many ids as are said with commas between them."""
    return _jobs(request, await _found(request))


async def list_jobs(request: web.Request) -> web.Response:
    """One's own jobs, the newest first, and for owners all."""
    jobs = await listed(request, await selection(request))
    found = await queue_of(request).get([job.id for job in jobs], principal=whose(request))
    return _jobs(request, found)


async def cancel(request: web.Request) -> web.Response:
    """Cancel jobs; those that have ended stay as they are."""
    queue = queue_of(request)
    cancelled = [await queue.cancel(job.id) for job in await _found(request)]
    return _jobs(request, [job for job in cancelled if job is not None])


async def delete(request: web.Request) -> web.Response:
    """Forget jobs and their output; those that run are cancelled."""
    found = await _found(request)
    await queue_of(request).delete([job.id for job in found])
    return json_response({"success": True, "ids": [id_of(request, job) for job in found]})


async def _found(request: web.Request) -> list[Job]:
    """The jobs that are named in the path.  Raises errors.JobNotFound where there is none."""
    ids = [id for id in request.match_info["id"].split(",") if id]
    if len(ids) > _MOST_IDS:
        raise ClientError(f"at most {_MOST_IDS} ids at once")
    found = await of_asker(request, list(dict.fromkeys(ids)))
    if not found:
        raise JobNotFound("there is no such job")
    return found


def _jobs(request: web.Request, jobs: list[Job]) -> web.Response:
    now = request.app[CONTEXT].jobs.clock()
    shown = {id_of(request, job): _job(job, now) for job in jobs}
    return json_response({"success": True, "jobs": shown})


def _job(job: Job, now: float) -> dict[str, object]:
    state = _STATES[job.state]
    details = job.details
    shown: dict[str, object] = {
        "status": state,
        "outputFiles": [],
        "log": job.output,
        "commandLine": details.get("commandLine", ""),
        "app": details.get("app", APPLICATION),
    }
    if job.reason:
        shown["error"] = job.reason
    created = datetime.datetime.fromtimestamp(job.created, datetime.UTC)
    return {
        "vmStatus": state,
        "states": {"default": shown},
        "created": created.isoformat(timespec="seconds"),
        "copy": job.copy,
        "tag": details.get("tag", job.model),
        "runtime": int(job.seconds(now)),
    }


for _path in _PATHS:
    ROUTES.post(_path, Action.USE_JOBS)(submit)
    ROUTES.get(_path, Action.USE_JOBS)(list_jobs)
    ROUTES.get(_path + "/{id}", Action.USE_JOBS)(status)
    ROUTES.post(_path + "/{id}/cancel", Action.USE_JOBS)(cancel)
    ROUTES.delete(_path + "/{id}", Action.USE_JOBS)(delete)
