"""The models that there are for a principal."""

from __future__ import annotations

from pathlib import Path

import pytest

from runnerd.access import Directory, Key, Principal, Rules, User, owner_principal, user_principal
from runnerd.errors import ModelNotFound
from runnerd.models import tiny
from runnerd.models.store import Store
from runnerd.relay.visible_models import VisibleModels

ANN, OWNER = user_principal("u", "k"), owner_principal(0)


@pytest.fixture
async def store(tmp_path: Path) -> Store:
    """Two models, of which one has two names; two names have the same last part."""
    store = Store(tmp_path / "models")
    store.open()
    for file, seed in (("one", 1), ("two", 2)):
        tiny.write_completion_model(tmp_path / f"{file}.gguf", name=file, seed=seed)
    await store.entrance.import_files([tmp_path / "one.gguf"], tag="ai/one")
    await store.entrance.import_files([tmp_path / "two.gguf"], tag="team/two")
    store.names.tag("ai/one", "team/secret")
    store.names.tag("ai/one", "other/two")
    return store


def visible(store: Store, *patterns: str) -> VisibleModels:
    directory = Directory((User("u", "ann", models=patterns),), (Key("k", "u", "D", 0.0),))
    return VisibleModels(store, Rules(lambda: 0.0, directory))


def names(models: VisibleModels, principal: Principal) -> set[str]:
    return {name for model in models.of(principal).models() for name in model.names}


async def test_owners_see_everything(store: Store) -> None:
    """As does a user without patterns."""
    everything = {"ai/one:latest", "team/secret:latest", "other/two:latest", "team/two:latest"}
    assert names(visible(store, "x"), OWNER) == everything
    assert names(visible(store), ANN) == everything


async def test_names_that_were_not_granted_do_not_exist(store: Store) -> None:
    """Neither in lists nor for who asks, whatever else the model is called."""
    models = visible(store, "ai/*")
    assert names(models, ANN) == {"ai/one:latest"}
    found = models.of(ANN).get("one")
    assert found.tags == ("ai/one:latest",)
    assert "secret" not in str(found.to_json())
    id = str(store.get("team/two").id)
    for text in ("team/secret", "team/two", "secret", "two", id, id[7:19]):
        with pytest.raises(ModelNotFound) as hidden:
            models.of(ANN).get(text)
        unknown = "x" * len(text)
        with pytest.raises(ModelNotFound) as missing:
            models.of(ANN).get(unknown)
        assert hidden.value.message.replace(text, unknown) == missing.value.message
    assert models.of(ANN).has(str(store.get("one").id))
    assert not models.of(ANN).has(id)


async def test_what_is_hidden_makes_nothing_ambiguous(store: Store) -> None:
    """A last part that several models have means the one that there is."""
    with pytest.raises(ModelNotFound, match="could be any of"):
        visible(store).of(ANN).get("two")
    assert visible(store, "team/*").of(ANN).get("two").name == "team/two:latest"


async def test_what_a_name_may_become(store: Store) -> None:
    """A name that no pattern is for cannot be pulled or waited for."""
    models = visible(store, "hf.co/org/*")
    assert models.may_be(ANN, "hf.co/org/new:Q4")
    assert models.may_be(ANN, "https://huggingface.co/org/new")
    assert not models.may_be(ANN, "ai/new")
    assert not models.may_be(ANN, "no name!")
    assert models.may_be(OWNER, "ai/new")


async def test_the_store_changes(store: Store) -> None:
    """What is new is seen, what is gone is not."""
    models = visible(store, "ai/*")
    store.names.tag("team/two", "ai/new")
    assert names(models, ANN) == {"ai/one:latest", "ai/new:latest"}
    store.names.remove("ai/new", force=False)
    assert names(models, ANN) == {"ai/one:latest"}
