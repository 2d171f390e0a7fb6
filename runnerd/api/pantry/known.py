"""The LLMs that there are for who makes a request, and how they are told."""

from __future__ import annotations

from aiohttp import web

from runnerd.api.context import CONTEXT, models_of, principal_of
from runnerd.api.pantry.wire import FlexRequest, LLMRunningStatus, LLMStatus
from runnerd.api.visible_runners import reports_of
from runnerd.errors import ModelNotFound
from runnerd.llms.downloads import Download
from runnerd.llms.entry import CAPABILITIES, LLMRegistryEntry
from runnerd.llms.flexible_choice import choose
from runnerd.llms.llms import LLM
from runnerd.pulls import weblink
from runnerd.scheduler import RunnerState

_WHOLE = 100.0


def known(request: web.Request) -> list[LLM]:
    """Those that are here."""
    return request.app[CONTEXT].llms.among(models_of(request), principal_of(request).id)


def downloads(request: web.Request) -> list[Download]:
    """Those that are on their way: one's own, and for who may see every model all."""
    context, principal = request.app[CONTEXT], principal_of(request)
    everything = context.policy.grants(principal) is None
    return [
        each for each in context.llms.downloads.active() if everything or each.owner == principal.id
    ]


def running(request: web.Request) -> set[str]:
    """The ids of the models that are loaded and ready."""
    return {
        model
        for report in reports_of(request)
        if report.state is RunnerState.READY
        for model in report.models
    }


def best(llms: list[LLM], asked: FlexRequest, lacking: str) -> LLM:
    """The best that passes.  Raises errors.ModelNotFound, with what is `lacking`."""
    found = choose(llms, asked.filter, asked.preference)
    if found is None:
        raise ModelNotFound(lacking)
    return found


def status(llm: LLM, *, running: bool) -> LLMStatus:
    """An LLM that is here."""
    return _status(llm.uuid, llm.entry, progress=_WHOLE, running=running)


def status_of_download(download: Download) -> LLMStatus:
    """An LLM that is on its way."""
    return _status(download.uuid, download.entry, progress=download.progress, running=False)


def running_status(llm: LLM, *, running: bool = True) -> LLMRunningStatus:
    """An LLM that is loaded, or was until a moment ago."""
    return LLMRunningStatus(llm_info=status(llm, running=running), uuid=llm.uuid)


def _status(uuid: str, entry: LLMRegistryEntry, *, progress: float, running: bool) -> LLMStatus:
    return LLMStatus(
        id=entry.id,
        family_id=entry.family_id,
        organization=entry.organization,
        name=entry.name,
        homepage=entry.homepage,
        license=entry.license,
        description=entry.description,
        # Its client cannot read a status with any other.
        capabilities={
            name: value for name, value in entry.capabilities.items() if name in CAPABILITIES
        },
        requirements=entry.requirements,
        tags=entry.tags,
        url=weblink.shown(entry.url),  # a signed one is a secret of who had it downloaded
        local=entry.local,
        connector_type=entry.connector_type.shown,
        download_progress=progress,
        config=entry.config,
        parameters=entry.parameters,
        user_parameters=entry.user_parameters,
        session_parameters=entry.session_parameters,
        user_session_parameters=entry.user_session_parameters,
        uuid=uuid,
        running=running,
    )
