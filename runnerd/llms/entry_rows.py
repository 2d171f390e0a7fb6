"""Registry entries as rows of the database: of LLMs that are here, and of the catalogue; and what
sources have said of models that were pulled.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import msgspec

from runnerd.database import Connection
from runnerd.errors import LimitReached
from runnerd.llms.entry import LLMRegistryEntry, encoded, parse_entry
from runnerd.pulls.published import NOTHING, Published

MOST = 2000
"""How many entries of owners are kept, of all users together, and how many of the catalogue."""
MOST_OF_A_USER = 100
OWNERS = ""
"""Whose entry it is that an owner has made, or has changed or accepted: it counts for all."""

Tags = Mapping[str, Collection[str]]
"""The models that are here, by their ids, with their tags."""


@dataclass(frozen=True, slots=True)
class KeptEntry:
    """What is kept of an LLM: its model's id, and the tag that it came with, "" for one that the
    owner described.  `principal` is the id of who said it.
    """

    uuid: str
    model: str
    tag: str
    entry: LLMRegistryEntry
    principal: str = OWNERS


@dataclass(frozen=True, slots=True)
class Kept:
    """All that is kept: LLMs by UUID, in the order in which they came, the catalogue by id, and
    what sources have published, by model and tag.
    """

    llms: dict[str, KeptEntry]
    catalogue: dict[str, LLMRegistryEntry]
    published: dict[str, dict[str, Published]] = field(default_factory=dict)


def load(connection: Connection) -> Kept:
    """Everything."""
    found = connection.execute("SELECT uuid, model, tag, entry, principal FROM llms ORDER BY rowid")
    llms = [
        KeptEntry(uuid, model, tag, parse_entry(entry), principal)
        for uuid, model, tag, entry, principal in found
    ]
    catalogue = connection.execute("SELECT id, entry FROM catalogue ORDER BY id")
    published: dict[str, dict[str, Published]] = {}
    for model, tag, said in connection.execute("SELECT model, tag, said FROM published"):
        published.setdefault(model, {})[tag] = _published(said)
    return Kept(
        {kept.uuid: kept for kept in llms},
        {id: parse_entry(entry) for id, entry in catalogue},
        published,
    )


def put(connection: Connection, kept: KeptEntry, tags: Tags) -> None:
    """Keep an entry, in the place of what was said of the same LLM; those of models and tags that
    are not here any more go first.  Raises errors.LimitReached.
    """
    _remove_gone(connection, tags)
    connection.execute(
        "INSERT INTO llms (uuid, model, tag, entry, principal) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (uuid) DO UPDATE SET entry = excluded.entry, principal = excluded.principal",
        (kept.uuid, kept.model, kept.tag, encoded(kept.entry), kept.principal),
    )
    if kept.principal != OWNERS:
        of_one = "SELECT count(*) FROM llms WHERE principal = ?"
        check_room(connection.execute(of_one, (kept.principal,)).fetchone()[0])
    sign = "=" if kept.principal == OWNERS else "!="
    _check_count(connection, f"SELECT count(*) FROM llms WHERE principal {sign} '{OWNERS}'")


def check_room(count: int) -> None:
    """Raise errors.LimitReached where one user would have so many entries, and may not."""
    if count > MOST_OF_A_USER:
        raise LimitReached(
            f"{MOST_OF_A_USER} registry entries are kept of one user's downloads, and you have as"
            " many; the owner can remove some (`runnerd rm`)",
            limit="registry_entries",
        )


def remove(connection: Connection, uuid: str) -> None:
    """Forget what was said of an LLM."""
    connection.execute("DELETE FROM llms WHERE uuid = ?", (uuid,))


def publish(connection: Connection, model: str, tag: str, said: Published, tags: Tags) -> None:
    """Keep what a source has said of a model that was pulled under a tag, for as long as it has
    that one.
    """
    _remove_gone(connection, tags)
    connection.execute(
        "INSERT INTO published (model, tag, said) VALUES (?, ?, ?)"
        " ON CONFLICT (model, tag) DO UPDATE SET said = excluded.said",
        (model, tag, msgspec.json.encode(said).decode()),
    )


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


def _remove_gone(connection: Connection, tags: Tags) -> None:
    """Remove what was said of models that are gone, or under tags that they do not have."""
    for table in ("llms", "published"):
        there = connection.execute(f"SELECT DISTINCT model, tag FROM {table}").fetchall()
        gone = [
            (model, tag)
            for model, tag in there
            if model not in tags or (tag and tag not in tags[model])
        ]
        connection.executemany(f"DELETE FROM {table} WHERE model = ? AND tag = ?", gone)


def _published(said: str) -> Published:
    try:
        return msgspec.json.decode(said, type=Published)
    except msgspec.MsgspecError:  # an older daemon's words
        return NOTHING
