"""Which model a prompt is for.

ProtoLLM separates models by queues, so a `queue_name` means a model: by the settings, or because a
model is called so.  Where neither queue nor prompt means one it is the only model that completes.
A prompt may name a model that is not here (clients copy one from the documentation, and ProtoLLM's
own workers ignore it): then its queue's is meant.
"""

from __future__ import annotations

from collections.abc import Mapping

from runnerd.errors import ModelNotFound
from runnerd.jobs.fleet.protollm.task_message import DEFAULT_QUEUE
from runnerd.models.catalog import Catalog


def model_of(models: Catalog, queues: Mapping[str, str], queue: str, named: str | None) -> str:
    """The name of the model that a prompt is for.  Raises errors.ModelNotFound."""
    for name in (named, queues.get(queue, queue)):
        if name and is_here(models, name):
            return models.spelling(name)
    if queue == DEFAULT_QUEUE and queue not in queues:
        if (only := only_model(models, "completion")) is not None:
            return only
        raise ModelNotFound(
            "several models are here, or none: name one in meta.model or queue_name", param="model"
        )
    raise ModelNotFound(f"no model is here for the queue {queue[:100]!r}", param="queue_name")


def only_model(models: Catalog, capability: str) -> str | None:
    """The name of the only model that can do something; None if there are several, or none."""
    found = [
        entry.model.name
        for entry in models.entries.values()
        if entry.model is not None and capability in entry.model.capabilities
    ]
    return found[0] if len(found) == 1 else None


def is_here(models: Catalog, name: str) -> bool:
    """Whether a model is called so."""
    try:
        models.get(name)
    except ModelNotFound:
        return False
    return True
