"""Every way to name a model of the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from runnerd.errors import InvalidReference, ModelNotFound
from runnerd.models.catalog import Catalog
from runnerd.models.store import Store
from tests.support.stores import add, small


async def test_every_way_to_name_a_model(store: Store, real: Path) -> None:
    """Reference, short form, registry alias, id, short id, digest and last part all find it."""
    id = await add(store, real, "hf.co/Org/Thing:Q4_0", "smollm2")
    names = ["smollm2", "ai/smollm2", "docker.io/ai/smollm2:latest", "SmolLM2:latest"]
    names += [str(id), id.hex, id.short, f"smollm2@{id}", "hf.co/org/thing:Q4_0"]
    names += ["thing", "thing:Q4_0", "thing:q4_0", "HF.co/ORG/Thing:q4_0", "SMOLLM2:LATEST"]
    names += ["https://huggingface.co/Org/Thing:Q4_0", "https://hub.docker.com/r/ai/smollm2"]
    for name in names * 2:
        assert store.get(name).id == id, name


async def test_one_spelling_for_all_of_them(store: Store, real: Path) -> None:
    """As the name is shown; an id stays one, and so does what is not here."""
    id = await add(store, real, "hf.co/Org/Thing:Q4_0", "smollm2")
    spelling = store.catalog.spelling
    for text in ("thing", "HF.co/ORG/Thing:q4_0", "https://huggingface.co/Org/Thing:Q4_0"):
        assert spelling(text) == "huggingface.co/org/thing:Q4_0"
    assert spelling("docker.io/ai/SmolLM2:latest") == "smollm2"
    assert spelling(str(id)) == str(id)
    assert spelling("hf.co/Org/Other") == "huggingface.co/org/other"
    assert spelling("") == ""


@pytest.mark.parametrize(
    "name",
    [
        "nothing",
        "smollm2:other",
        "thing:q4",
        "org/thing",
        "",
        "a b",
        "../x",
        "f" * 64,
        "x" * 9999,
    ],
)
async def test_unknown_names(name: str, store: Store, real: Path) -> None:
    """Whatever is not here is a 404 of bounded size that says how to see what is."""
    await add(store, real, "hf.co/Org/Thing:Q4_0", "smollm2")
    for _ in range(2):
        with pytest.raises(ModelNotFound) as caught:
            store.get(name)
        assert "`runnerd ls` lists what is here" in caught.value.message
        assert len(caught.value.message) < 250


async def test_an_ambiguous_name_lists_the_candidates(store: Store, folder: Path) -> None:
    """A last part that several models share is not guessed."""
    await add(store, small(folder / "a.gguf", "a"), "one/thing:q4")
    await add(store, small(folder / "b.gguf", "b"), "two/thing:q8")
    with pytest.raises(ModelNotFound, match=r"one/thing:q4, two/thing:q8; say which"):
        store.get("thing")
    assert store.get("thing:q8").tags == ("two/thing:q8",)


async def test_a_tag_moves(store: Store, folder: Path) -> None:
    """A tag points at one model; setting it again moves it, and lookups follow at once."""
    a = await add(store, small(folder / "a.gguf", "a"), "a", "both")
    b = await add(store, small(folder / "b.gguf", "b"), "b")
    assert store.get("both").id == a
    assert store.names.tag("b", "BOTH") == "ai/both:latest"
    assert store.get("both").id == b
    assert store.get("a").tags == ("ai/a:latest",)
    assert await add(store, folder / "a.gguf", "b") == a
    assert store.get(b.hex).tags == ("ai/both:latest",)
    with pytest.raises(ModelNotFound):
        store.names.tag("nothing", "x")
    with pytest.raises(InvalidReference):
        store.names.tag("a", f"x@{b}")


async def test_tags_differ_by_more_than_case(store: Store, folder: Path) -> None:
    """A tag in another case is the same tag: it moves, and is removed with it."""
    a = await add(store, small(folder / "a.gguf", "a"), "pair:Q4")
    b = await add(store, small(folder / "b.gguf", "b"), "pair:q4")
    assert store.get(b.hex).tags == ("ai/pair:q4",)
    assert store.get(a.hex).names == (a.short,)
    assert store.get("pair:Q4").id == b
    store.names.tag(a.hex, "pair:Q4")
    assert (store.get("pair:q4").id, store.get(b.hex).tags) == (a, ())
    assert store.names.remove("PAIR:q4") == [("Untagged", "ai/pair:Q4"), ("Deleted", str(a))]
    with pytest.raises(ModelNotFound):
        store.names.remove("pair:Q4")
    assert store.get(b.short).id == b


async def test_pair_of_an_older_store(store: Store, folder: Path) -> None:
    """Where two tags differ by case already, each spelling still means its own."""
    a = await add(store, small(folder / "a.gguf", "a"), "pair:Q4")
    b = await add(store, small(folder / "b.gguf", "b"), "other")
    old = [
        entry.with_tags(("ai/pair:q4",)) if entry.id == b else entry
        for entry in store.catalog.entries.values()
    ]
    catalog = Catalog(old)
    assert (catalog.find("pair:Q4").id, catalog.find("pair:q4").id) == (a, b)
    assert catalog.find("PAIR:q4").id == b


async def test_a_lookup_is_remembered(
    store: Store, real: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name is worked out once, until the store changes."""
    await add(store, real, "m")
    found = store.get("m")
    with monkeypatch.context() as patch:
        patch.setattr("runnerd.models.catalog.Reference", None)  # nothing can be parsed
        assert store.get("m") is found
    store.names.remove("m")
    with pytest.raises(ModelNotFound):
        store.get("m")


async def test_lookups_are_remembered_within_a_bound(
    store: Store, real: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any number of spellings of a name is found, and they do not pile up."""
    monkeypatch.setattr("runnerd.models.catalog._REMEMBERED", 10)
    id = await add(store, real, "m")
    for count in range(100):
        assert store.get("m" + " " * count).id == id
    assert store.catalog._usable.cache_info().currsize <= 10
