"""Which model a name means to a backend: one of the store, or one that the backend keeps itself."""

from __future__ import annotations

from collections.abc import Iterable

from runnerd.api.context import Context
from runnerd.errors import ModelNotFound


def model_id(context: Context, name: str, backend: str | None) -> str:
    """The id of the model that a name means to a backend, None for the default one.

    Raises errors.ModelNotFound, BackendNotFound.
    """
    if context.supervisor.keys.backend(backend).uses_external_model_management:
        return name
    return str(context.store.get(name).id)


def model_ids(context: Context, names: Iterable[str], backend: str | None) -> set[str]:
    """The ids of the models among some names that are here.  Raises errors.BackendNotFound."""
    found = set()
    for name in names:
        try:
            found.add(model_id(context, name, backend))
        except ModelNotFound:
            continue
    return found


def is_external(context: Context, backend: str) -> bool:
    """Whether a backend keeps its models itself."""
    known = context.backends.get(backend)
    return known is not None and known.uses_external_model_management
