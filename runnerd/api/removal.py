"""The removal of a model, with all that belongs to it, for every API that has one."""

from __future__ import annotations

import logging

from runnerd import threads
from runnerd.api.context import Context
from runnerd.errors import Conflict, ModelNotFound
from runnerd.models.names import Removals

log = logging.getLogger(__name__)


async def remove_model(context: Context, name: str, *, force: bool) -> Removals:
    """Remove a name and what goes with it; return what was done.

    A runner that another model shares stays.  With the last model that it drafts for goes a draft
    that has come along with a pull.  Raises errors.ModelNotFound, and Conflict for a model in use
    unless `force`.
    """
    store = context.store
    id = str(store.identify(name))
    load, draft = store.load_of(id), context.drafts.of(id)
    shared = len(store.loaded_as(load)) > 1
    if store.names.deletes(name, force=force) and not shared:
        await context.supervisor.removing.unload_model(id, force=force)
    try:
        removed = await threads.run(store.names.remove, name, force=force)
    finally:
        await forget_removed(context, id, load, shared=shared)
    if draft is not None and draft.goes_along and not store.has(id):
        removed += await _remove_draft(context, draft.draft_model)
    return removed


async def forget_removed(context: Context, id: str, load: str, *, shared: bool) -> None:
    """Drop what belongs to a model that is not here any more, whatever its removal has said."""
    if not context.store.has(id):
        await context.supervisor.removing.forget(id, load, shared=shared)


async def _remove_draft(context: Context, name: str) -> Removals:
    """Remove a draft that no other model uses, and to which nobody has given another name."""
    try:
        id = context.store.identify(name)
        tags = context.store.catalog.entries[id].tags
        if len(tags) > 1 or context.drafts.is_used(str(id)):
            return []
        return await remove_model(context, str(id), force=False)
    except ModelNotFound:
        return []
    except Conflict as error:  # somebody chats with it
        log.info("the draft model %s stays: %s", name, error.message)
        return []
