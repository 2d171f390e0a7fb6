"""Whose jobs there are for who asks, and for which models it may submit some."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from runnerd.api.context import CONTEXT, is_owner, models_of, principal_of
from runnerd.api.model_ids import model_id
from runnerd.api.visible_transfers import check_may_be
from runnerd.errors import ClientError, JobNotFound, ModelNotFound
from runnerd.jobs.job import Job, JobState, as_chosen, chosen_id
from runnerd.jobs.queue import Queue, Selection

_USUAL, _MOST = 100, 1000


def queue_of(request: web.Request) -> Queue:
    """The daemon's queue."""
    return request.app[CONTEXT].jobs.queue


def whose(request: web.Request) -> str | None:
    """The principal (its id) whose jobs there are for who asks; None: everybody's."""
    return None if is_owner(request) else principal_of(request).id


async def of_asker(request: web.Request, ids: Sequence[str]) -> list[Job]:
    """The jobs with these ids that there are for who asks, who may have chosen some of them."""
    own = principal_of(request).id
    named = {each: id for id in ids for each in (chosen_id(own, id), id)}
    found: dict[str, Job] = {}
    for job in await queue_of(request).get(list(named), principal=whose(request)):
        found.setdefault(named[job.id], job)
    return list(found.values())


def id_of(request: web.Request, job: Job) -> str:
    """A job's id for who asks: as it was chosen, but for owners who look at somebody else's."""
    return as_chosen(job.id) if job.principal.id == principal_of(request).id else job.id


async def job_of_asker(request: web.Request, id: str) -> Job:
    """The job with an id.  Raises errors.JobNotFound, also for somebody else's."""
    found = await of_asker(request, [id])
    if not found:
        raise JobNotFound(f"there is no job {id[:100]!r}; `runnerd jobs` shows all")
    return found[0]


async def selection(request: web.Request) -> Selection:
    """Which jobs are to be listed, by the query.  Raises errors.ClientError, JobNotFound."""
    query = request.query
    limit = query.get("limit", str(_USUAL))
    if not limit.isascii() or not limit.isdigit() or not 0 < int(limit[:6]) <= _MOST:
        raise ClientError(f"limit is a number from 1 to {_MOST}", param="limit")
    try:
        state = JobState(query["state"]) if "state" in query else None
    except ValueError:
        states = ", ".join(JobState)
        raise ClientError(f"state is one of {states}", param="state") from None
    return Selection(
        whose(request),
        _spelling(request, query["model"]) if "model" in query else None,
        state,
        query.get("group"),
        (await job_of_asker(request, query["before"])).id if "before" in query else None,
        int(limit),
    )


async def listed(request: web.Request, wanted: Selection) -> list[Job]:
    """Jobs without what they ask and got."""
    return await queue_of(request).select(wanted)


def model_asked(request: web.Request, name: str) -> str:
    """The one spelling of a model that a job is for.

    Raises errors.ModelNotFound for one that is not here for who asks, and will not be pulled.
    """
    try:
        model_id(request, name, None)
    except ModelNotFound:
        if not request.app[CONTEXT].settings.auto_pull:
            raise
        check_may_be(request, name)
    return _spelling(request, name)


def _spelling(request: web.Request, name: str) -> str:
    if request.app[CONTEXT].supervisor.keys.backend(None).uses_external_model_management:
        return name
    return models_of(request).spelling(name)
