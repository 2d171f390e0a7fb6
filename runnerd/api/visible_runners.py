"""The runners that there are for who makes a request: those of models that there are for them."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from aiohttp import web

from runnerd.api.context import CONTEXT, models_of, principal_of
from runnerd.api.model_ids import is_external
from runnerd.errors import ClientError
from runnerd.models.catalog import Catalog
from runnerd.relay.visible_models import VisibleModels
from runnerd.supervisor import RunnerChange, RunnerReport, WaitingReport

Told = TypeVar("Told", RunnerReport, RunnerChange, WaitingReport)


def reports_of(request: web.Request) -> list[RunnerReport]:
    """Every runner that there is for a principal, with the models and the name that there are."""
    reports = request.app[CONTEXT].supervisor.reports()
    return [seen for report in reports if (seen := as_seen(request, report)) is not None]


def as_seen(request: web.Request, told: Told) -> Told | None:
    """What is told of a runner, with the models and the name that there are for a principal; None
    where there are none.
    """
    context, principal = request.app[CONTEXT], principal_of(request)
    every = context.policy.grants(principal) is None
    if is_external(context, told.backend):
        visible = VisibleModels(context.store, context.policy)
        return told if every or visible.may_be(principal, told.model_ref) else None
    models = models_of(request)
    if ids := tuple(id for id in told.models if models.has(id)):
        name = _name(models, told.model_ref, ids)
        return replace(told, models=told.models if every else ids, model_ref=name)
    return told if every else None


def _name(models: Catalog, known_as: str, ids: tuple[str, ...]) -> str:
    """What a runner is called to somebody for whom there may be no such name, or not any more."""
    try:
        if str(models.get(known_as).id) in ids:
            return known_as
    except ClientError:
        pass
    return models.get(ids[0]).name
