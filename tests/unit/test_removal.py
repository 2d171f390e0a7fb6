"""runnerd.api.removal: a draft that came along goes with the last model that it drafts for."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runnerd.api.removal import remove_model
from runnerd.backends.configuration import SpeculativeDecoding
from runnerd.errors import Conflict, ModelNotFound
from runnerd.models.store import Store
from tests.support.stores import add, small


class Host:
    """A store with a model and its draft, and whoever is asked about them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.said: dict[str, SpeculativeDecoding] = {}
        self.used = self.busy = ""
        self.drafts = self
        self.supervisor = SimpleNamespace(removing=self)

    def of(self, model: str) -> SpeculativeDecoding | None:
        return self.said.get(model)

    def is_used(self, draft: str) -> bool:
        return draft == self.used

    async def unload_model(self, model: str, *, force: bool) -> None:
        if model == self.busy and not force:
            raise Conflict("the model is in use")

    async def forget(self, model: str, load: str, *, shared: bool) -> None: ...

    async def remove(self, name: str, *, force: bool = False) -> list[str]:
        removed = await remove_model(cast(Any, self), name, force=force)
        return [what for _, what in removed]


@pytest.fixture
async def host(store: Store, folder: Path) -> Host:
    host = Host(store)
    model = await add(store, small(folder / "m.gguf", "m"), "m")
    await add(store, small(folder / "d.gguf", "d"), "d")
    host.said[str(model)] = SpeculativeDecoding(draft_model="ai/d", goes_along=True)
    return host


async def test_it_goes_with_the_model(host: Host) -> None:
    """Not with one of its names; what was done is told of both."""
    store = host.store
    model, draft = str(store.identify("m")), str(store.identify("d"))
    store.names.tag("m", "also")
    assert await host.remove("m") == ["ai/m:latest"]
    assert store.id_of("d") == draft
    assert await host.remove("also") == ["ai/also:latest", model, "ai/d:latest", draft]
    assert store.list() == []


@pytest.mark.parametrize("why", ["own", "used", "busy", "named", "gone"])
async def test_it_stays(host: Host, why: str) -> None:
    """One that is an owner's, that another model uses, that somebody uses now, or that has another
    name; and one that is gone is no trouble.
    """
    store = host.store
    model, draft = str(store.identify("m")), str(store.identify("d"))
    match why:
        case "own":
            host.said[model] = SpeculativeDecoding(draft_model="ai/d")
        case "used":
            host.used = draft
        case "busy":
            host.busy = draft
        case "named":
            store.names.tag("d", "mine")
        case _:
            await host.remove("d")
    assert await host.remove("m", force=True) == ["ai/m:latest", model]
    assert (store.id_of("d") == draft) is (why != "gone")
    with pytest.raises(ModelNotFound):
        await host.remove("m")
