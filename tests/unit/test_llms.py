"""The LLMs that models are, and which of them a text names."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from runnerd.errors import ClientError, ModelNotFound
from runnerd.llms.entry import ConnectorType, LLMRegistryEntry
from runnerd.llms.entry_rows import OWNERS, Kept, KeptEntry
from runnerd.llms.llms import LLM, find, find_named, llms_of, uuid_of
from runnerd.models import tiny
from runnerd.models.store import Store
from runnerd.pulls.published import Published
from tests.support.stores import add, opened, small


def entry(id: str) -> LLMRegistryEntry:
    return LLMRegistryEntry(id=id, connector_type=ConnectorType.LLMRS)


@pytest.fixture
async def store(tmp_path: Path) -> Store:
    """A model with a name of its own and one that came with an entry, and one that embeds."""
    store = opened(tmp_path / "models")
    await add(store, small(tmp_path / "a.gguf"), "ai/a", "pantry/x:1")
    tiny.write_embedding_model(tmp_path / "e.gguf")
    await store.entrance.import_files([tmp_path / "e.gguf"], tag="ai/e")
    return store


def kept(store: Store, *entries: tuple[str, str]) -> Kept:
    model = str(store.get("a").id)
    every = [KeptEntry(str(uuid4()), model, tag, entry(id)) for id, tag in entries]
    return Kept({each.uuid: each for each in every}, {})


def ids(llms: list[LLM]) -> list[str]:
    return [llm.entry.id for llm in llms]


def test_by_itself(store: Store) -> None:
    """A model of which nobody said anything is one LLM, always the same; embedders are none."""
    (found,) = llms_of(store.catalog, Kept({}, {}))
    assert found.said is None
    assert found.uuid == uuid_of(str(store.get("a").id))
    assert (found,) == tuple(llms_of(store.catalog, Kept({}, {})))


def test_with_entries(store: Store) -> None:
    """Those that came with a tag that it has are beside it; of others nothing is left."""
    entries = kept(store, ("came", "pantry/x:1"), ("gone", "pantry/y:1"))
    found = llms_of(store.catalog, entries)
    assert ids(found) == ["a", "came"]
    assert [llm.model.tags for llm in found] == [("ai/a:latest",), ("pantry/x:1",)]
    store.names.remove("ai/a")
    assert ids(llms_of(store.catalog, entries)) == ["came"]
    store.names.remove("pantry/x:1")
    assert llms_of(store.catalog, entries) == []


def test_what_the_owner_said(store: Store) -> None:
    """It is of the LLM that the model is by itself."""
    model = str(store.get("a").id)
    own = KeptEntry(uuid_of(model), model, "", entry("described"))
    (found,) = llms_of(store.catalog, Kept({own.uuid: own}, {}))
    assert (found.uuid, found.entry.id) == (own.uuid, "described")
    assert found.said == own.entry
    assert found.entry.family_id


def test_whose_words_count(store: Store) -> None:
    """What a user says counts for that user; an owner's words count for all."""
    model, said = str(store.get("a").id), entry("came")
    strong = msgspec.structs.replace(said, capabilities={"general": 10}, family_id="better")
    for principal, who_counts in (
        ("user 1", {"user 1": True, "user 2": False, "owner": False}),
        (OWNERS, {"user 1": True, "user 2": True, "owner": True}),
    ):
        own = KeptEntry(str(uuid4()), model, "pantry/x:1", strong, principal)
        for who, counts in who_counts.items():
            _, found = llms_of(store.catalog, Kept({own.uuid: own}, {}), who)
            assert (found.uuid, found.entry.id) == (own.uuid, "came")
            assert found.is_anothers is not counts
            assert (found.said == strong) is counts
            assert (found.entry.capabilities["general"] == 10) is counts
            assert (found.entry.family_id == "better") is counts
        _, shown = llms_of(store.catalog, Kept({own.uuid: own}, {}))
        assert shown.said == strong


def test_anothers_id(store: Store) -> None:
    """It is found by its id, but takes that from nobody."""
    model = str(store.get("a").id)
    users = KeptEntry(str(uuid4()), model, "pantry/x:1", entry("x"), "user 1")
    owners = KeptEntry(str(uuid4()), model, "pantry/x:1", entry("x"), OWNERS)
    alone = llms_of(store.catalog, Kept({users.uuid: users}, {}), "user 2")
    assert find(alone, "x").uuid == users.uuid
    both = llms_of(store.catalog, Kept({each.uuid: each for each in (users, owners)}, {}), "user 2")
    assert find(both, "x").uuid == owners.uuid


def test_what_sources_say(store: Store) -> None:
    """Of a model with several names that of the first counts for it, of an LLM that of its own."""
    model = str(store.get("a").id)
    came = KeptEntry(str(uuid4()), model, "pantry/x:1", entry("came"))
    said = {"ai/a:latest": Published(license="one"), "pantry/x:1": Published(license="two")}
    own, other = llms_of(store.catalog, Kept({came.uuid: came}, {}, {model: said}))
    assert (own.entry.license, other.entry.license) == ("one", "two")
    (hidden,) = llms_of(
        store.catalog.view("x", partial(only, "pantry/x:1")), Kept({}, {}, {model: said})
    )
    assert hidden.entry.license == "two"


def only(name: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(each for each in names if each == name)


def test_of_what_is_granted(store: Store) -> None:
    """Who may not know of a tag does not learn of the entry that came with it."""
    entries = kept(store, ("came", "pantry/x:1"))
    for pattern, expected in (("ai/a:latest", ["a"]), ("pantry/x:1", ["came"])):
        view = store.catalog.view(pattern, partial(only, pattern))
        assert ids(llms_of(view, entries)) == expected


def test_finding(store: Store) -> None:
    """An id that is one LLM's alone, or a UUID in whatever spelling."""
    llms = llms_of(store.catalog, kept(store, ("x", "pantry/x:1"), ("x", "pantry/x:1")))
    one, two, three = llms
    assert find(llms, "a") is one
    assert find(llms, two.uuid.upper()) is two
    assert find(llms, f"{{{three.uuid}}}") is three
    assert find_named(llms, "x") is None
    with pytest.raises(ClientError, match="neither an LLM's id nor a UUID"):
        find(llms, "x")
    with pytest.raises(ModelNotFound):
        find(llms, str(uuid4()))
