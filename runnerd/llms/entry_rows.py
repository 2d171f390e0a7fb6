"""Registry entries as rows of the database: of LLMs that are here, and of the catalogue."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from runnerd.database import Connection
from runnerd.errors import LimitReached
from runnerd.llms.entry import LLMRegistryEntry, encoded, parse_entry

MOST = 2000
"""How many entries of LLMs are kept, and how many of the catalogue."""


@dataclass(frozen=True, slots=True)
class KeptEntry:
    """What is kept of an LLM: its model's id, and the tag that it came with, "" for one that the
    owner described.
    """

    uuid: str
    model: str
    tag: str
    entry: LLMRegistryEntry


@dataclass(frozen=True, slots=True)
class Kept:
    """All that is kept: LLMs by UUID, in the order in which they came, the catalogue by id."""

    llms: dict[str, KeptEntry]
    catalogue: dict[str, LLMRegistryEntry]


def load(connection: Connection) -> Kept:
    """Everything."""
    found = connection.execute("SELECT uuid, model, tag, entry FROM llms ORDER BY rowid")
    llms = [KeptEntry(uuid, model, tag, parse_entry(entry)) for uuid, model, tag, entry in found]
    catalogue = connection.execute("SELECT id, entry FROM catalogue ORDER BY id")
    return Kept(
        {kept.uuid: kept for kept in llms},
        {id: parse_entry(entry) for id, entry in catalogue},
    )


def put(connection: Connection, kept: KeptEntry, models: Collection[str]) -> None:
    """Keep an entry, in the place of what was said of the same LLM; those of models that are not
    among `models` any more go first.  Raises errors.LimitReached.
    """
    there = connection.execute("SELECT DISTINCT model FROM llms").fetchall()
    gone = [(model,) for (model,) in there if model not in models]
    connection.executemany("DELETE FROM llms WHERE model = ?", gone)
    connection.execute(
        "INSERT INTO llms (uuid, model, tag, entry) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (uuid) DO UPDATE SET entry = excluded.entry",
        (kept.uuid, kept.model, kept.tag, encoded(kept.entry)),
    )
    _check_count(connection, "SELECT count(*) FROM llms")


def remove(connection: Connection, uuid: str) -> None:
    """Forget what was said of an LLM."""
    connection.execute("DELETE FROM llms WHERE uuid = ?", (uuid,))


def list_in_catalogue(connection: Connection, entry: LLMRegistryEntry) -> None:
    """Put an entry into the catalogue.  Raises errors.LimitReached."""
    connection.execute(
        "INSERT INTO catalogue (id, entry) VALUES (?, ?)"
        " ON CONFLICT (id) DO UPDATE SET entry = excluded.entry",
        (entry.id, encoded(entry)),
    )
    _check_count(connection, "SELECT count(*) FROM catalogue")


def take_from_catalogue(connection: Connection, id: str) -> None:
    """Take an entry out of the catalogue."""
    connection.execute("DELETE FROM catalogue WHERE id = ?", (id,))


def _check_count(connection: Connection, query: str) -> None:
    if connection.execute(query).fetchone()[0] > MOST:
        raise LimitReached(f"at most {MOST} registry entries are kept", limit="registry_entries")
