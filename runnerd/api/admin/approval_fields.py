"""What is said of approvals in requests, and how they are told."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from runnerd.access.approvals import ASKING, Approval, ApprovalKind, ApprovalState
from runnerd.access.principals import user_principal
from runnerd.api.admin import fields
from runnerd.api.context import (
    CONTEXT,
    Context,
    authorize,
    json_body,
    models_of,
    text_field,
    timestamp,
)
from runnerd.api.model_ids import model_id
from runnerd.api.visible_transfers import check_may_be
from runnerd.errors import ClientError
from runnerd.models.digest import Digest
from runnerd.models.reference import Reference
from runnerd.pulls.source_parsing import parse_source

_REASON_LETTERS = 300
_LONGEST = 2048
_USUAL = ("type", "reason")
_MODEL = {ApprovalKind.LOAD, ApprovalKind.UNLOAD}


def kind_of(document: dict[str, Any]) -> ApprovalKind:
    """What is asked for.  Raises errors.ClientError."""
    said = text_field(document, "type", required=True)
    try:
        return ApprovalKind(said or "")
    except ValueError:
        kinds = ", ".join(ApprovalKind)
        raise ClientError(f"type is one of {kinds}", param="type") from None


def state_of(said: str | None) -> ApprovalState | None:
    """Of which state requests are to be listed.  Raises errors.ClientError."""
    try:
        return None if said is None else ApprovalState(said)
    except ValueError:
        states = ", ".join(ApprovalState)
        raise ClientError(f"state is one of {states}", param="state") from None


def details_of(
    request: web.Request, kind: ApprovalKind, document: dict[str, Any]
) -> dict[str, Any]:
    """What exactly is asked for, once it is clear that who asks may do so.

    A model is called as it is for who asks.  Raises errors.ClientError, PermissionMissing,
    Forbidden, ModelNotFound.
    """
    authorize(request, ASKING[kind])
    if kind is ApprovalKind.PERMISSIONS:
        fields.only(document, ("may", *_USUAL), "such a request")
        if "may" not in document:
            raise ClientError("may is required: a list of permissions", param="may")
        return {"may": sorted(fields.permissions(document["may"]))}
    if kind in _MODEL:
        fields.only(document, ("model", *_USUAL), "such a request")
        return {"model": _model_here(request, _model_field(document))}
    fields.only(document, ("model", "tag", "revision", "sha256", *_USUAL), "such a request")
    return _download(request, document)


def reason_of(document: dict[str, Any]) -> str:
    """Why somebody asks or decides so.  Raises errors.ClientError."""
    said = text_field(document, "reason") or ""
    if len(said) > _REASON_LETTERS or not said.isprintable():
        raise ClientError(
            f"reason is one line of at most {_REASON_LETTERS} letters", param="reason"
        )
    return said


async def decision_reason_of(request: web.Request) -> str:
    """Why an owner rejects something, where a body says it.  Raises errors.ClientError."""
    if not request.body_exists:
        return ""
    document = await json_body(request)
    fields.only(document, ("reason",), "a decision")
    return reason_of(document)


def _model_field(document: dict[str, Any]) -> str:
    model = text_field(document, "model", required=True)
    assert model is not None
    return model


def _model_here(request: web.Request, name: str) -> str:
    """What a model is called that is here: the owner's word for it may mean another one."""
    model_id(request, name, None)  # raises for what there is not for who asks
    keys = request.app[CONTEXT].supervisor.keys
    if keys.backend(None).uses_external_model_management:
        return name
    models = models_of(request)
    return models.find(name).tag or models.get(name).name


def _download(request: web.Request, document: dict[str, Any]) -> dict[str, Any]:
    names = ("model", "tag", "revision", "sha256")
    said = {name: text for name in names if (text := text_field(document, name)) is not None}
    model = _model_field(document)
    for name, text in said.items():
        if len(text) > _LONGEST or not text.isprintable():
            raise ClientError(f"{name} is not what it should be", param=name)
    digest = Digest(said["sha256"].removeprefix("sha256:").lower()) if "sha256" in said else None
    parse_source(model, revision=said.get("revision"), digest=digest)
    check_may_be(request, model)
    if "tag" in said:
        said["tag"] = str(Reference.parse(said["tag"]))
        check_may_be(request, said["tag"])
    return said


def approval_json(request: web.Request, approval: Approval) -> dict[str, object]:
    """A request as the API shows it."""
    context = request.app[CONTEXT]
    decided = approval.decided
    return {
        "id": approval.id,
        "user": context.accounts.called(user_principal(approval.user_id, "").id),
        "user_id": approval.user_id,
        "type": approval.kind,
        "request": dict(approval.details),
        "reason": approval.reason,
        "state": approval.state,
        "accepted": approval.accepted,
        "complete": approval.complete,
        "working": context.approvals.is_working(approval),
        "failure": approval.failure,
        "created": timestamp(approval.created),
        "decided": None if decided is None else timestamp(decided),
        "decided_by": approval.decided_by or None,
        "decision_reason": approval.decision_reason,
        "loses": _losses(context, approval),
    }


def _losses(context: Context, approval: Approval) -> list[str]:
    """The permissions that a user would lose if this were accepted now."""
    if approval.kind is not ApprovalKind.PERMISSIONS or approval.complete:
        return []
    user = context.accounts.users.directory.user(approval.user_id)
    return sorted((user.permissions if user else frozenset()) - {*approval.details["may"]})
