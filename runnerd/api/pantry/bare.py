"""`/bare_model`: the path of a model's file, for a program that runs it by itself."""

from __future__ import annotations

from aiohttp import web

from runnerd.access import Action
from runnerd.api.context import CONTEXT
from runnerd.api.pantry.bodies import decoded
from runnerd.api.pantry.customs import json_response, pantry_routes
from runnerd.api.pantry.known import best, known, running, status
from runnerd.api.pantry.wire import BareModelResponse, FlexRequest, LLMRequest
from runnerd.llms.llms import LLM, find

ROUTES = pantry_routes()


@ROUTES.post("/bare_model", Action.BARE_MODEL)
async def bare_model(request: web.Request) -> web.Response:
    """The path of an LLM's file; of one in several parts that of the first, with the others beside
    it.
    """
    return await _path(request, find(known(request), decoded(request, LLMRequest).llm_id))


@ROUTES.post("/bare_model_flex", Action.BARE_MODEL)
async def bare_model_flex(request: web.Request) -> web.Response:
    """The path of the best that passes."""
    asked = decoded(request, FlexRequest)
    return await _path(request, best(known(request), asked, "Unable to locate LLM."))


async def _path(request: web.Request, llm: LLM) -> web.Response:
    loaded = str(llm.model.id) in running(request)
    path = await request.app[CONTEXT].llms.bare_files.path_of(llm.model)
    return json_response(BareModelResponse(model=status(llm, running=loaded), path=str(path)))
