"""`/runnerd/jobs`: work that waits, with all that is known of it.

GridRepublic's API (`api/gridrepublic`) shows the same jobs as its clients expect them.
"""

from __future__ import annotations

from aiohttp import web

from runnerd import sse
from runnerd.access import Action
from runnerd.api.admin.job_fields import job_json, new_jobs, queues_json
from runnerd.api.context import (
    CONTEXT,
    encode,
    flag,
    json_body,
    json_response,
    principal_of,
)
from runnerd.api.job_access import id_of, job_of_asker, queue_of, selection, whose
from runnerd.api.routing import Routes
from runnerd.errors import Conflict, JobNotFound
from runnerd.jobs.job import Job

ROUTES = Routes()


@ROUTES.get("/runnerd/jobs", Action.USE_JOBS)
async def list_jobs(request: web.Request) -> web.Response:
    """One's own jobs, and for owners all, the newest first.

    `state`, `model` and `group` name some, `limit` how many, `before` an id to go on behind.
    """
    found = await queue_of(request).select(await selection(request))
    return json_response([job_json(request, job, whole=False) for job in found])


@ROUTES.post("/runnerd/jobs", Action.USE_JOBS)
async def submit(request: web.Request) -> web.Response:
    """Submit a job, or several copies of one; they are on the disk when this returns."""
    jobs = new_jobs(request, await json_body(request))
    kept = await queue_of(request).submit(jobs)
    return json_response([job_json(request, job, whole=False) for job in kept], status=201)


@ROUTES.get("/runnerd/queues", Action.USE_JOBS)
async def queues(request: web.Request) -> web.Response:
    """How many jobs wait, run and have ended, by model: one's own, and for owners all."""
    counts = await queue_of(request).counts(principal=whose(request))
    return json_response(queues_json(counts))


@ROUTES.get("/runnerd/jobs/{id}", Action.USE_JOBS)
async def show(request: web.Request) -> web.StreamResponse:
    """A job with all that came of it; `follow` goes on with each change until it has ended."""
    job = await job_of_asker(request, request.match_info["id"])
    if flag(request, "follow") and request.method == "GET":
        return await _follow(request, job)
    return json_response(job_json(request, job))


async def _follow(request: web.Request, job: Job) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    with request.app[CONTEXT].jobs.followers.joined(principal_of(request).id):
        await response.prepare(request)
        async for now in queue_of(request).watch(job.id):
            await response.write(sse.encoded(encode(job_json(request, now)), "job"))
        await response.write_eof()
        return response


@ROUTES.post("/runnerd/jobs/{id}/cancel", Action.USE_JOBS)
async def cancel(request: web.Request) -> web.Response:
    """Cancel a job; one that has ended stays as it is."""
    job = await job_of_asker(request, request.match_info["id"])
    return json_response(job_json(request, await queue_of(request).cancel(job.id) or job))


@ROUTES.post("/runnerd/jobs/{id}/retry", Action.USE_JOBS)
async def retry(request: web.Request) -> web.Response:
    """Queue a job again that has failed, was cancelled or has expired."""
    job = await job_of_asker(request, request.match_info["id"])
    again = await queue_of(request).retry(job.id)
    if again is None:
        raise JobNotFound(f"job {id_of(request, job)} is gone")
    if again.state == job.state and job.state.ended:
        id = id_of(request, job)
        raise Conflict(f"job {id} is {job.state}: there is nothing to try again")
    return json_response(job_json(request, again))


@ROUTES.delete("/runnerd/jobs/{id}", Action.USE_JOBS)
async def delete(request: web.Request) -> web.Response:
    """Forget a job and all that came of it; one that runs is cancelled."""
    job = await job_of_asker(request, request.match_info["id"])
    await queue_of(request).delete([job.id])
    return json_response({"id": id_of(request, job), "deleted": True})
