"""Registry entries in the database."""

from __future__ import annotations

from collections.abc import AsyncIterator
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

ENTRY = LLMRegistryEntry(id="x", url="http://x", connector_type=ConnectorType.LLMRS)
ONE = KeptEntry("u1", "m1", "pantry/x:1", ENTRY)
TWO = KeptEntry("u2", "m2", "", msgspec.structs.replace(ENTRY, id="y", tags=["é"]))


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def store(database: Database, models: set[str]) -> EntryStore:
    store = EntryStore(database, lambda: models)
    await store.open()
    return store


@pytest.fixture
def models() -> set[str]:
    """Those that are here."""
    return {"m1", "m2"}


async def test_kept(database: Database, store: EntryStore) -> None:
    """What was put is there, also for who opens the database next; later words replace earlier."""
    await store.put(ONE)
    await store.put(TWO)
    changed = replace(ONE, entry=msgspec.structs.replace(ENTRY, license="MIT"))
    await store.put(changed)
    assert store.kept.llms == {"u1": changed, "u2": TWO}
    again = EntryStore(database, set)
    await again.open()
    assert again.kept == store.kept
    await store.remove("u1")
    assert store.kept.llms == {"u2": TWO}


async def test_models_that_are_gone(store: EntryStore, models: set[str]) -> None:
    """Their entries go when another one is put."""
    await store.put(ONE)
    models.remove("m1")
    await store.put(TWO)
    assert store.kept.llms == {"u2": TWO}


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


async def test_a_restored_database(database: Database, store: EntryStore) -> None:
    """The entries are those of the backup."""
    await store.put(ONE)
    async with database.copy() as copy:
        await store.remove("u1")
        await database.restore(copy)
        await database.read(lambda connection: None)
    assert store.kept.llms == {"u1": ONE}
