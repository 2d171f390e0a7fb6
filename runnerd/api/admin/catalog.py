"""`/runnerd/catalog`: what Pantry's registry says of models that are here, and of others that could
be downloaded.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
from aiohttp import web

from runnerd.access import Action
from runnerd.api.context import (
    CONTEXT,
    SUBJECT,
    is_owner,
    json_body,
    json_response,
    models_of,
    principal_of,
    read_body,
)
from runnerd.api.routing import Routes
from runnerd.errors import ClientError, Conflict, ModelNotFound
from runnerd.llms.entry import LLMRegistryEntry, changed
from runnerd.llms.entry_rows import OWNERS, KeptEntry
from runnerd.llms.filling import undescribed
from runnerd.llms.index_file import index_of, parse_index
from runnerd.llms.links import link_of
from runnerd.llms.llms import LLM, find, find_named
from runnerd.models.catalog import shown
from runnerd.pulls import weblink

ROUTES = Routes()

_INDEX = "index.json"


@ROUTES.get("/runnerd/catalog", Action.VIEW_MODELS)
async def list_entries(request: web.Request) -> web.Response:
    """The LLMs that are here, and what the catalogue has beside them."""
    here = _llms(request)
    ids = {llm.entry.id for llm in here}
    others = [entry for id, entry in _catalogue(request).items() if id not in ids]
    told = [_told(request, llm) for llm in here]
    return json_response(told + [_told(request, entry) for entry in others])


@ROUTES.get(f"/runnerd/catalog/{_INDEX}", Action.VIEW_MODELS)
async def show_index(request: web.Request) -> web.Response:
    """The catalogue as an index file, for others."""
    entries = [_told(request, entry)["entry"] for entry in _catalogue(request).values()]
    return json_response(index_of(entries, "runnerd"))


@ROUTES.post("/runnerd/catalog", Action.CONFIGURE_MODEL)
async def add_entries(request: web.Request) -> web.Response:
    """Put the entries of an index file, or one entry, into the catalogue."""
    entries = parse_index(await read_body(request))
    ids = [entry.id for entry in entries]
    if _INDEX in ids:
        raise ClientError(f"{_INDEX} cannot be the id of an entry", param="id")
    request[SUBJECT] = " ".join(ids[:5])
    await request.app[CONTEXT].llms.entries.list_in_catalogue(entries)
    return json_response({"listed": ids})


@ROUTES.get("/runnerd/catalog/{name:.+}", Action.VIEW_MODELS)
async def show_entry(request: web.Request) -> web.Response:
    """The entry of a model, by whatever it is called, or one of the catalogue by its id."""
    return json_response(_told(request, _find(request)))


@ROUTES.post("/runnerd/catalog/{name:.+}", Action.CONFIGURE_MODEL)
async def edit_entry(request: web.Request) -> web.Response:
    """Change fields of an entry, by Pantry's names for them: what is not said stays."""
    found, changes = _find(request), await json_body(request)
    if not changes:
        raise ClientError('say what to change, such as {"license": "MIT"}')
    request[SUBJECT] = f"{request.match_info['name']} {','.join(sorted(changes))[:200]}"
    entries = request.app[CONTEXT].llms.entries
    if not isinstance(found, LLM):
        entry = changed(found, changes)
        await entries.list_in_catalogue([entry])
        return json_response(_told(request, entry))
    said = changed(found.said or undescribed(found.entry), changes)
    model = str(found.model.id)
    known = entries.kept.llms.get(found.uuid) or KeptEntry(found.uuid, model, "", said)
    await entries.put(replace(known, entry=said, principal=OWNERS))
    return json_response(_told(request, find(_llms(request), found.uuid)))


@ROUTES.delete("/runnerd/catalog/{name:.+}", Action.CONFIGURE_MODEL)
async def remove_entry(request: web.Request) -> web.Response:
    """Take an entry out of the catalogue, or forget what was said of a model.

    Raises errors.Conflict for one that has come with its download.
    """
    found, entries = _find(request), request.app[CONTEXT].llms.entries
    if not isinstance(found, LLM):
        await entries.take_from_catalogue(found.id)
        return json_response({"removed": found.id})
    kept = entries.kept.llms.get(found.uuid)
    if kept is not None and kept.tag:
        raise Conflict(f"this entry goes with its model: `runnerd rm {kept.tag}`")
    await entries.remove(found.uuid)
    return json_response({"removed": found.entry.id})


def _llms(request: web.Request) -> list[LLM]:
    """As they are for who makes the request; owners see what was said, whoever did."""
    principal = None if is_owner(request) else principal_of(request).id
    return request.app[CONTEXT].llms.among(models_of(request), principal)


def _catalogue(request: web.Request) -> dict[str, LLMRegistryEntry]:
    return request.app[CONTEXT].llms.entries.kept.catalogue


def _find(request: web.Request) -> LLM | LLMRegistryEntry:
    name = request.match_info["name"]
    llms = _llms(request)
    found = find_named(llms, name) or _catalogue(request).get(name)
    if found is not None:
        return found
    try:
        match = models_of(request).find(name)
    except ModelNotFound:
        raise ModelNotFound(
            f"there is no model and no entry {shown(name)}; `runnerd catalog` lists them"
        ) from None
    of_it = [llm for llm in llms if llm.model.id == match.id]
    of_it.sort(key=lambda llm: match.tag not in llm.model.tags)
    if not of_it:
        raise ClientError(
            f"{shown(name)} completes no text, so Pantry's registry has no word of it"
        )
    return of_it[0]


def _told(request: web.Request, found: LLM | LLMRegistryEntry) -> dict[str, Any]:
    """An entry as it is told: a signed address is for owners alone."""
    here = found if isinstance(found, LLM) else None
    entry = found.entry if isinstance(found, LLM) else found
    if not is_owner(request):
        entry = msgspec.structs.replace(entry, url=weblink.shown(entry.url))
    return {
        "id": entry.id,
        "uuid": None if here is None else here.uuid,
        "model": None if here is None else here.model.name,
        "said": here is None or here.said is not None,
        "entry": msgspec.to_builtins(entry),
        "link": link_of(entry) if entry.url else None,
    }
