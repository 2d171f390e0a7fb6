"""The runners that there are for who makes a request: those of models that there are for them."""

from __future__ import annotations

from dataclasses import replace

from aiohttp import web

from runnerd.api.context import CONTEXT, models_of, principal_of
from runnerd.api.model_ids import is_external
from runnerd.errors import ClientError
from runnerd.models.catalog import Catalog
from runnerd.relay.visible_models import VisibleModels
from runnerd.supervisor import RunnerReport


def reports_of(request: web.Request) -> list[RunnerReport]:
    """Every runner that there is for a principal, with the models and the name that there are."""
    context, principal = request.app[CONTEXT], principal_of(request)
    reports = context.supervisor.reports()
    if context.policy.grants(principal) is None:
        return reports
    models, visible = models_of(request), VisibleModels(context.store, context.policy)
    found = []
    for report in reports:
        if is_external(context, report.backend):
            if visible.may_be(principal, report.model_ref):
                found.append(report)
        elif ids := tuple(id for id in report.models if models.has(id)):
            found.append(replace(report, models=ids, model_ref=_name(models, report, ids)))
    return found


def _name(models: Catalog, report: RunnerReport, ids: tuple[str, ...]) -> str:
    """What a runner is called to somebody for whom there may be no such name."""
    try:
        if str(models.get(report.model_ref).id) in ids:
            return report.model_ref
    except ClientError:
        pass
    return models.get(ids[0]).name
