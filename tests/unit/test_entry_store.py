"""Registry entries in the database."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from runnerd.database import Database
from runnerd.errors import LimitReached
from runnerd.llms import entry_rows
from runnerd.llms.entry import ConnectorType, LLMRegistryEntry
from runnerd.llms.entry_rows import KeptEntry
from runnerd.llms.entry_store import EntryStore
from runnerd.pulls.published import NOTHING, Published
from tests.support.stores import add, opened, small

COVERS = ("runnerd.llms.entry_rows",)

ENTRY = LLMRegistryEntry(id="x", url="http://x", connector_type=ConnectorType.LLMRS)
ONE = KeptEntry("u1", "m1", "pantry/x:1", ENTRY)
TWO = KeptEntry("u2", "m2", "", msgspec.structs.replace(ENTRY, id="y", tags=["é"]))


@pytest.fixture
async def store(database: Database, tags: dict[str, set[str]]) -> EntryStore:
    store = EntryStore(database, lambda: tags)
    await store.open()
    return store


@pytest.fixture
def tags() -> dict[str, set[str]]:
    """The models that are here."""
    return {"m1": {"pantry/x:1"}, "m2": set()}


async def test_kept(database: Database, store: EntryStore) -> None:
    """What was put is there, also for who opens the database next; later words replace earlier."""
    await store.put(ONE)
    await store.put(TWO)
    changed = replace(ONE, entry=msgspec.structs.replace(ENTRY, license="MIT"))
    await store.put(changed)
    assert store.kept.llms == {"u1": changed, "u2": TWO}
    again = EntryStore(database, dict)
    await again.open()
    assert again.kept == store.kept
    await store.remove("u1")
    assert store.kept.llms == {"u2": TWO}


async def test_models_that_are_gone(store: EntryStore, tags: dict[str, set[str]]) -> None:
    """Their entries go when another one is put; so do those that came with a tag that is gone."""
    await store.put(ONE)
    tags["m1"].clear()
    await store.put(TWO)
    assert store.kept.llms == {"u2": TWO}
    del tags["m2"]
    tags["m1"].add("pantry/x:1")
    await store.put(ONE)
    assert store.kept.llms == {"u1": ONE}


async def test_the_catalogue(store: EntryStore) -> None:
    """Several are listed together; one id has one entry."""
    other = msgspec.structs.replace(ENTRY, license="MIT")
    await store.list_in_catalogue([ENTRY, TWO.entry, other])
    assert store.kept.catalogue == {"x": other, "y": TWO.entry}
    await store.take_from_catalogue("x")
    assert store.kept.catalogue == {"y": TWO.entry}


async def test_there_is_an_end(store: EntryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many are refused, and all that came with them."""
    monkeypatch.setattr(entry_rows, "MOST", 1)
    await store.put(ONE)
    with pytest.raises(LimitReached):
        await store.put(replace(ONE, uuid="u3"))
    with pytest.raises(LimitReached):
        await store.list_in_catalogue([ENTRY, TWO.entry])
    assert (store.kept.llms, store.kept.catalogue) == ({"u1": ONE}, {})


async def test_a_users_entries(store: EntryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one user's so many are kept; nobody else is in its way, and the owner has no such end."""
    monkeypatch.setattr(entry_rows, "MOST_OF_A_USER", 2)
    for number in range(2):
        store.check_room("user 1", 0)
        await store.put(replace(ONE, uuid=f"a{number}", principal="user 1"))
    with pytest.raises(LimitReached, match="2 registry entries are kept of one user's downloads"):
        store.check_room("user 1", 0)
    with pytest.raises(LimitReached):
        await store.put(replace(ONE, uuid="a2", principal="user 1"))
    store.check_room("user 2", 1)
    with pytest.raises(LimitReached):
        store.check_room("user 2", 2)  # with what is on its way
    for number in range(4):
        store.check_room(entry_rows.OWNERS, 9)
        await store.put(replace(ONE, uuid=f"o{number}"))
    # What an owner changes is the owner's from then on.
    await store.put(replace(ONE, uuid="a0"))
    store.check_room("user 1", 0)


async def test_users_leave_room_for_the_owner(
    store: EntryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many entries all users have together, the owner can add some."""
    monkeypatch.setattr(entry_rows, "MOST", 1)
    await store.put(replace(ONE, principal="user 1"))
    with pytest.raises(LimitReached):
        await store.put(replace(ONE, uuid="u3", principal="user 2"))
    await store.put(replace(ONE, uuid="u4"))


async def test_what_sources_say(
    tmp_path: Path, database: Database, store: EntryStore, tags: dict[str, set[str]]
) -> None:
    """It is kept by the name that a model was pulled under, for as long as it has that one."""
    models = opened(tmp_path / "models")
    model = models.get(str(await add(models, small(tmp_path / "a.gguf"), "hf.co/a/b")))
    id, said = str(model.id), Published(license="MIT", tags=("é",))
    tags[id] = {"a:1", "b:1"}
    await store.publish(model, "a:1", Published(license="none"))
    await store.publish(model, "a:1", said)
    await store.publish(model, "b:1", NOTHING)
    again = EntryStore(database, dict)
    await again.open()
    assert again.kept.published == store.kept.published == {id: {"a:1": said, "b:1": NOTHING}}
    tags[id] = {"a:1"}
    await store.put(ONE)
    assert store.kept.published == {id: {"a:1": said}}


async def test_a_pull_does_not_fail_for_it(tmp_path: Path, database: Database) -> None:
    """Where it cannot be kept, the model is here all the same."""
    models = opened(tmp_path / "models")
    model = models.get(str(await add(models, small(tmp_path / "a.gguf"), "ai/a")))
    store = EntryStore(database, dict)
    await store.open()
    await database.close()
    await store.publish(model, "ai/a:latest", Published(license="MIT"))
    assert store.kept.published == {}


async def test_a_restored_database(database: Database, store: EntryStore) -> None:
    """The entries are those of the backup."""
    await store.put(ONE)
    async with database.copy() as copy:
        await store.remove("u1")
        await database.restore(copy)
        await database.read(lambda connection: None)
    assert store.kept.llms == {"u1": ONE}
