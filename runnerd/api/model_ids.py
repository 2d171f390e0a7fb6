"""Which model a name means to a backend: one of the store, or one that the backend keeps itself."""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web

from runnerd.api.context import CONTEXT, Context, models_of, principal_of
from runnerd.errors import ModelNotFound
from runnerd.models.catalog import shown
from runnerd.relay.visible_models import VisibleModels


def model_id(request: web.Request, name: str, backend: str | None) -> str:
    """The id of the model that a name means to a backend, None for the default one; of those that
    there are for who makes the request.

    Raises errors.ModelNotFound, BackendNotFound.
    """
    context = request.app[CONTEXT]
    if not context.supervisor.keys.backend(backend).uses_external_model_management:
        return str(models_of(request).get(name).id)
    visible = VisibleModels(context.store, context.policy)
    if not visible.may_be(principal_of(request), name):
        raise ModelNotFound(f"model {shown(name)} not found", param="model")
    return name


def model_ids(request: web.Request, names: Iterable[str], backend: str | None) -> set[str]:
    """The ids of the models among some names that are here.  Raises errors.BackendNotFound."""
    found = set()
    for name in names:
        try:
            found.add(model_id(request, name, backend))
        except ModelNotFound:
            continue
    return found


def is_external(context: Context, backend: str) -> bool:
    """Whether a backend keeps its models itself."""
    known = context.backends.get(backend)
    return known is not None and known.uses_external_model_management
