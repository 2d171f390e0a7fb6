"""Which events there are for who asks, and how each kind is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from runnerd.access import Action
from runnerd.access.approvals import Approval
from runnerd.api.admin.approval_fields import approval_json
from runnerd.api.context import CONTEXT, authorize, is_owner, principal_of, timestamp
from runnerd.api.request_fields import may_see, request_json
from runnerd.api.visible_runners import as_seen
from runnerd.errors import RunnerdError
from runnerd.observability.event_bus import Event, EventKind
from runnerd.pulls.transfer_tasks import TransferTask
from runnerd.relay.records import RequestRecord
from runnerd.supervisor import RunnerChange

Fields = dict[str, object]


@dataclass(frozen=True, slots=True)
class EventView:
    """How one kind of event is shown: to who may do `action`, as `tell` says (None: not at all)."""

    action: Action
    tell: Callable[[web.Request, Any], Fields | None]


def kinds_for(request: web.Request) -> list[EventKind]:
    """The kinds of events that who asks may see at all, of those that `kinds` names."""
    said = request.query.get("kinds")
    wanted = None if said is None else set(said.split(","))
    return [
        kind
        for kind, view in VIEWS.items()
        if (wanted is None or kind in wanted) and may(request, view.action)
    ]


def may(request: web.Request, action: Action) -> bool:
    """Whether who asks may do something now; if not, it is no reason to end what goes on."""
    try:
        request.app[CONTEXT].policy.check(principal_of(request), action)
    except RunnerdError:
        return False
    return True


def told(request: web.Request, event: Event) -> Fields | None:
    """What an event tells who asks, now; None: nothing.  Raises errors.Unauthorized."""
    view = VIEWS[event.kind]
    if not may(request, view.action):
        return None
    found = view.tell(request, event.subject)
    return None if found is None else {"at": timestamp(event.at), **found}


def _runner(request: web.Request, change: RunnerChange) -> Fields | None:
    seen = as_seen(request, change)
    if seen is None:
        return None
    return {
        "id": seen.id,
        "model": seen.model_ref,
        "models": list(seen.models),
        "backend": seen.backend,
        "mode": seen.mode.value,
        "state": seen.state,
        "reason": seen.reason,
        "failure": seen.failure,
        "load_seconds": seen.load_seconds,
    }


def _request(request: web.Request, record: RequestRecord) -> Fields | None:
    return request_json(request, record) if may_see(request, record) else None


def _transfer(request: web.Request, job: TransferTask) -> Fields | None:
    if not is_owner(request) and job.owner != principal_of(request).id:
        return None
    fields = job.to_json() | {"state": "running", "error": None}
    if job.done:
        try:
            fields |= {"state": "done", "model_id": str(job.model.id)}
        except RunnerdError as error:
            fields |= {"state": "failed", "error": error.message}
    return fields


def _approval(request: web.Request, approval: Approval) -> Fields | None:
    if is_owner(request):
        authorize(request, Action.MANAGE_APPROVALS)  # it is not for pages that the owner looks at
    elif principal_of(request).user_id != approval.user_id:
        return None
    return approval_json(request, approval)


def _models(request: web.Request, subject: object) -> Fields | None:
    """That the store has changed, not how; not to who is not to know of all models."""
    if request.app[CONTEXT].policy.grants(principal_of(request)) is not None:
        return None
    return {}


VIEWS: Mapping[EventKind, EventView] = {
    EventKind.RUNNER: EventView(Action.VIEW_RUNNERS, _runner),
    EventKind.REQUEST: EventView(Action.VIEW_REQUESTS, _request),
    EventKind.TRANSFER: EventView(Action.VIEW_MODELS, _transfer),
    EventKind.APPROVAL: EventView(Action.USE_ACCOUNT, _approval),
    EventKind.MODELS: EventView(Action.VIEW_MODELS, _models),
}
