"""Index files: `{"version", "name", "models": {id: entry}}`, lists of what can be downloaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from runnerd.errors import ClientError
from runnerd.llms.entry import LLMRegistryEntry, parse_entry

MOST_ENTRIES = 1000


class _Index(msgspec.Struct):
    models: dict[str, msgspec.Raw]


class _Named(msgspec.Struct):
    id: str = ""


def parse_index(document: bytes) -> list[LLMRegistryEntry]:
    """The entries of an index file, or the one entry that a document is.

    An entry that does not say its id has that of its name in the index.  Raises errors.ClientError,
    which names the entry that is wrong.
    """
    try:
        models = msgspec.json.decode(document, type=_Index).models
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return [parse_entry(document)]
    if len(models) > MOST_ENTRIES:
        raise ClientError(f"an index has at most {MOST_ENTRIES} models")
    return [_entry(name, bytes(said)) for name, said in models.items()]


def _entry(name: str, said: bytes) -> LLMRegistryEntry:
    try:
        if not msgspec.json.decode(said, type=_Named).id:
            members = msgspec.json.decode(said, type=dict[str, object])
            said = msgspec.json.encode(members | {"id": name})
        return parse_entry(said)
    except (ClientError, msgspec.MsgspecError) as error:
        raise ClientError(f"the model {name[:100]!r} of the index: {error}") from error


def index_of(entries: Iterable[Mapping[str, Any]], name: str) -> dict[str, object]:
    """An index of these entries, which are JSON's objects."""
    return {"version": "1", "name": name, "models": {entry["id"]: entry for entry in entries}}
