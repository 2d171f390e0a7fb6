"""`/get_llm_status` and the lists of LLMs."""

from __future__ import annotations

from aiohttp import web

from runnerd.access import Action
from runnerd.api.pantry.bodies import decoded
from runnerd.api.pantry.customs import json_response, pantry_routes
from runnerd.api.pantry.known import downloads, known, running, status, status_of_download
from runnerd.api.pantry.wire import LLMRequest
from runnerd.llms.llms import find, parse_uuid

ROUTES = pantry_routes()


@ROUTES.post("/get_llm_status", Action.VIEW_MODELS)
async def get_llm_status(request: web.Request) -> web.Response:
    """One LLM by its UUID, also while it is downloaded; programs ask again and again until then."""
    uuid = parse_uuid(decoded(request, LLMRequest).llm_id)
    for download in downloads(request):
        if download.uuid == uuid:
            return json_response(status_of_download(download))
    llm = find(known(request), uuid)
    return json_response(status(llm, running=str(llm.model.id) in running(request)))


@ROUTES.post("/get_available_llms", Action.VIEW_MODELS)
@ROUTES.post("/request_available_llms", Action.VIEW_MODELS)
async def get_available_llms(request: web.Request) -> web.Response:
    """Every LLM that is here."""
    loaded = running(request)
    every = [status(llm, running=str(llm.model.id) in loaded) for llm in known(request)]
    return json_response(every)


@ROUTES.post("/get_running_llms", Action.VIEW_MODELS)
@ROUTES.post("/request_running_llms", Action.VIEW_MODELS)
async def get_running_llms(request: web.Request) -> web.Response:
    """Those that are loaded."""
    loaded = running(request)
    every = [status(llm, running=True) for llm in known(request) if str(llm.model.id) in loaded]
    return json_response(every)
