"""What a model of the store is called, and which models are loaded alike."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from runnerd.models.model import LOAD
from runnerd.models.store import Store
from tests.support.stores import add


async def test_names(store: Store, real: Path) -> None:
    """Its first tag is its name; without tags it is its short id."""
    model = store.get(str(await add(store, real, "one", "two")))
    assert (model.name, model.names) == (model.tags[0], model.tags)
    assert len(model.tags) == 2
    bare = dataclasses.replace(model, tags=())
    assert (bare.name, bare.names) == (model.id.short, (model.id.short,))


async def test_a_load_is_the_files_and_not_the_names(store: Store, real: Path) -> None:
    """Tags and time of creation change nothing about how an engine is started."""
    model = store.get(str(await add(store, real, "one")))
    assert model.load.startswith(LOAD)
    assert dataclasses.replace(model, tags=(), created=0).load == model.load
    layers = tuple(layer for layer in model.manifest.layers if layer not in model.manifest.weights)
    other = dataclasses.replace(model.manifest, layers=layers)
    assert dataclasses.replace(model, manifest=other).load != model.load


async def test_what_is_listed(store: Store, real: Path) -> None:
    """Docker's fields, and ours apart from them; a context size only where there is one."""
    model = store.get(str(await add(store, real, "one")))
    listed = model.to_json()
    assert set(listed) == {"id", "tags", "created", "config", "runnerd"}
    assert dataclasses.replace(model.config, context_size=None).to_json().keys() == {
        "format", "quantization", "parameters", "architecture", "size", "gguf",
    }  # fmt: skip
    assert dataclasses.replace(model.config, context_size=9).to_json()["context_size"] == 9
