"""`/download_llm`, `/get_or_download_llm`: a pull that brings its registry entry along."""

from __future__ import annotations

from aiohttp import web

from runnerd.access import Action
from runnerd.api.context import CONTEXT, SUBJECT, models_of
from runnerd.api.pantry.bodies import decoded
from runnerd.api.pantry.customs import json_response, pantry_routes
from runnerd.api.pantry.known import downloads, known
from runnerd.api.pantry.wire import EntryRequest
from runnerd.api.visible_transfers import asker_of, check_may_be
from runnerd.errors import ClientError, UnprocessableBody
from runnerd.llms.entry import LLMRegistryEntry, check_size, parse_entry
from runnerd.pulls import weblink

ROUTES = pantry_routes()


@ROUTES.post("/download_llm", Action.DOWNLOAD_MODEL)
async def download_llm(request: web.Request) -> web.Response:
    """Begin a download; the response is the LLM's UUID, whose status tells how far it is."""
    return json_response(await _begin(request, entry_in(request)))


@ROUTES.post("/get_or_download_llm", Action.DOWNLOAD_MODEL)
async def get_or_download_llm(request: web.Request) -> web.Response:
    """The same, unless there is such an LLM, or it is on its way."""
    entry = entry_in(request)
    here = [(llm.uuid, llm.said) for llm in known(request)]
    for uuid, said in [*here, *((each.uuid, each.entry) for each in downloads(request))]:
        if said is not None and said.is_same(entry):
            return json_response(uuid)
    return json_response(await _begin(request, entry))


def entry_in(request: web.Request) -> LLMRegistryEntry:
    """The registry entry of a request, which may be a string with one.

    Raises errors.ClientError, UnprocessableBody.
    """
    said = decoded(request, EntryRequest).llm_registry_entry
    try:
        if not isinstance(said, LLMRegistryEntry):
            return parse_entry(said)
        check_size(said)
        return said
    except ClientError as error:
        raise UnprocessableBody(f"llm_registry_entry: {error.message}") from error


async def _begin(request: web.Request, entry: LLMRegistryEntry) -> str:
    request[SUBJECT] = f"{entry.id} {weblink.shown(entry.url)}"
    check_may_be(request, entry.url)
    reusable = {str(model.id) for model in models_of(request).models()}
    return await request.app[CONTEXT].llms.downloads.begin(
        entry, asker_of(request), reusable=reusable
    )
