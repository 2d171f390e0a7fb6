"""The pulls and pushes that there are for who makes a request: their own, and for owners all."""

from __future__ import annotations

from aiohttp import web

from runnerd.api.context import CONTEXT, principal_of
from runnerd.errors import Forbidden, NotFound
from runnerd.models.catalog import shown
from runnerd.pulls.asker import Asker
from runnerd.pulls.transfer_tasks import TransferTask
from runnerd.relay.visible_models import VisibleModels


def transfers_of(request: web.Request) -> list[TransferTask]:
    """Those that are under way."""
    context, principal = request.app[CONTEXT], principal_of(request)
    everything = context.policy.sees_everything(principal)
    return [job for job in context.pulls.active() if everything or job.owner == principal.id]


def transfer_of(request: web.Request, id: str) -> TransferTask:
    """One of them.  Raises errors.NotFound, also for somebody else's."""
    for job in transfers_of(request):
        if job.id == id:
            return job
    raise NotFound(f"no pull or push {id[:40]!r} is under way; `runnerd pulls` lists them")


def asker_of(request: web.Request) -> Asker:
    """Who asks for what a request transfers."""
    return Asker.of(principal_of(request), request.app[CONTEXT].policy)


def check_may_be(request: web.Request, reference: str) -> None:
    """Raise errors.Forbidden for a name that no model can have for who makes the request."""
    context = request.app[CONTEXT]
    if not VisibleModels(context.store, context.policy).may_be(principal_of(request), reference):
        raise Forbidden(f"none of the models that you were granted is called {shown(reference)}")
