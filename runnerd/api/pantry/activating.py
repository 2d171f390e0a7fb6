"""`/load_llm`, `/unload_llm`: an LLM is loaded as a request would load it, and stays as long."""

from __future__ import annotations

from aiohttp import web

from runnerd.access import Action
from runnerd.api.context import CONTEXT, SUBJECT, models_of, principal_of
from runnerd.api.pantry.bodies import decoded
from runnerd.api.pantry.customs import json_response, pantry_routes
from runnerd.api.pantry.known import best, known, running, running_status, status
from runnerd.api.pantry.wire import FlexRequest, LLMRequest
from runnerd.errors import Conflict, ModelNotFound
from runnerd.llms.llms import LLM, find
from runnerd.relay.preloading import preload

ROUTES = pantry_routes()


@ROUTES.post("/load_llm", Action.LOAD_MODEL)
async def load_llm(request: web.Request) -> web.Response:
    """Load an LLM, and answer when it is ready; one that is loaded stays so."""
    return await _load(request, find(known(request), decoded(request, LLMRequest).llm_id))


@ROUTES.post("/load_llm_flex", Action.LOAD_MODEL)
async def load_llm_flex(request: web.Request) -> web.Response:
    """Load the best that passes."""
    asked = decoded(request, FlexRequest)
    return await _load(request, best(known(request), asked, "Unable to locate LLM."))


async def _load(request: web.Request, llm: LLM) -> web.Response:
    context = request.app[CONTEXT]
    request[SUBJECT] = name = llm.model.name
    await preload(
        context.exchanges, context.supervisor, models_of(request), principal_of(request), name
    )
    return json_response(running_status(llm))


@ROUTES.post("/unload_llm", Action.UNLOAD_MODEL)
async def unload_llm(request: web.Request) -> web.Response:
    """Unload an LLM.  Raises errors.Conflict where somebody uses it."""
    context = request.app[CONTEXT]
    llm = find(known(request), decoded(request, LLMRequest).llm_id)
    request[SUBJECT] = llm.model.name
    if str(llm.model.id) not in running(request):
        raise ModelNotFound(f"LLM with UUID {llm.uuid} not currently active.")
    unloaded = await context.supervisor.unloading.unload(models={str(llm.model.id)})
    if unloaded.in_use:
        raise Conflict(f"LLM with UUID {llm.uuid} is in use; try again when it is idle")
    return json_response(status(llm, running=False))
