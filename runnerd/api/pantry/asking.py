"""`/request_...`: what users ask the owner for, who decides it (`api/admin/approvals`)."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from runnerd.access import Action, Permission
from runnerd.access.approvals import Approval, ApprovalKind
from runnerd.access.principals import user_principal
from runnerd.accounts.approvals import not_found
from runnerd.api.admin.asking_owner import ask_owner
from runnerd.api.context import CONTEXT, is_owner, principal_of, timestamp
from runnerd.api.pantry.bodies import decoded
from runnerd.api.pantry.customs import json_response, pantry_routes
from runnerd.api.pantry.downloading import entry_in
from runnerd.api.pantry.known import best, known
from runnerd.api.pantry.wire import (
    LLMRequest,
    LoadRequest,
    RequestPermissions,
    StatusRequest,
    UserPermissions,
    UserRequest,
)
from runnerd.api.visible_transfers import check_may_be
from runnerd.errors import ApprovalNotFound
from runnerd.llms.downloads import check_downloadable
from runnerd.llms.entry import ConnectorType, LLMRegistryEntry
from runnerd.llms.llms import find, parse_uuid

ROUTES = pantry_routes()


@ROUTES.post("/request_permissions", Action.USE_ACCOUNT)
async def request_permissions(request: web.Request) -> web.Response:
    """Ask for permissions, which will take the place of all that the user has."""
    asked = decoded(request, RequestPermissions).requested_permissions
    return await _ask(request, ApprovalKind.PERMISSIONS, {"may": sorted(asked.permissions)})


@ROUTES.post("/request_download", Action.REQUEST_DOWNLOAD)
async def request_download(request: web.Request) -> web.Response:
    """Ask for a download."""
    entry = entry_in(request)
    check_downloadable(entry)
    check_may_be(request, entry.url)
    details = {"model": entry.url, "entry": msgspec.to_builtins(entry)}
    return await _ask(request, ApprovalKind.DOWNLOAD, details)


@ROUTES.post("/request_load", Action.REQUEST_LOAD)
@ROUTES.post("/request_load_flex", Action.REQUEST_LOAD)
async def request_load(request: web.Request) -> web.Response:
    """Ask for an LLM to be loaded: a certain one, or the best that passes."""
    asked, llms = decoded(request, LoadRequest), known(request)
    if asked.llm_id is not None:
        llms = [find(llms, asked.llm_id)]
    llm = best(llms, asked, "Unable to locate LLM.")
    details = {"model": llm.model.name, "llm_id": llm.uuid}
    return await _ask(request, ApprovalKind.LOAD, details)


@ROUTES.post("/request_unload", Action.REQUEST_UNLOAD)
async def request_unload(request: web.Request) -> web.Response:
    """Ask for an LLM to be unloaded."""
    llm = find(known(request), decoded(request, LLMRequest).llm_id)
    details = {"model": llm.model.name, "llm_id": llm.uuid}
    return await _ask(request, ApprovalKind.UNLOAD, details)


@ROUTES.post("/get_request_status", Action.USE_ACCOUNT)
async def get_request_status(request: web.Request) -> web.Response:
    """What has become of a request; somebody else's is as unknown as one that there never was."""
    id = parse_uuid(decoded(request, StatusRequest).request_id)
    try:
        approval = await request.app[CONTEXT].accounts.approvals.get(id)
        if not (is_owner(request) or approval.user_id == principal_of(request).user_id):
            raise not_found(id)
    except ApprovalNotFound as error:
        raise ApprovalNotFound("Request Not Found") from error
    return json_response(_told(request, approval))


async def _ask(request: web.Request, kind: ApprovalKind, details: dict[str, Any]) -> web.Response:
    outcome = await ask_owner(request, kind, details, "")
    return json_response(_told(request, outcome.approval))


def _told(request: web.Request, approval: Approval) -> UserRequest:
    called = request.app[CONTEXT].accounts.called(user_principal(approval.user_id, "").id)
    return UserRequest(
        id=approval.id,
        user_id=approval.user_id,
        timestamp=timestamp(approval.created),
        request=_what(approval),
        accepted=approval.accepted,
        complete=approval.complete,
        reason=approval.reason or "reason",
        originator=called,
    )


def _what(approval: Approval) -> dict[str, Any]:
    """What was asked for, in Pantry's words; it may have been asked for in another API's."""
    details = approval.details
    if approval.kind is ApprovalKind.PERMISSIONS:
        may = UserPermissions.of(frozenset(map(Permission, details["may"])))
        return {"type": "PermissionRequest", "requested_permissions": msgspec.to_builtins(may)}
    if approval.kind is ApprovalKind.DOWNLOAD:
        entry = details.get("entry")
        if entry is None:
            model = details["model"]
            made = LLMRegistryEntry(id=model, url=model, connector_type=ConnectorType.LLMRS)
            entry = msgspec.to_builtins(made)
        return {"type": "DownloadRequest", "llm_registry_entry": entry}
    kind = "LoadRequest" if approval.kind is ApprovalKind.LOAD else "UnloadRequest"
    return {"type": kind, "llm_id": details.get("llm_id") or details["model"]}
