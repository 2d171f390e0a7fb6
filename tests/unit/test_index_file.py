"""Index files of registry entries."""

from __future__ import annotations

import json

import msgspec
import pytest

from runnerd.errors import ClientError
from runnerd.llms.index_file import MOST_ENTRIES, index_of, parse_index
from tests.support.pantry import entry


def index(models: object) -> bytes:
    return json.dumps({"version": "1", "name": "x", "models": models}).encode()


def test_there_and_back() -> None:
    """An index is read as it is written; the id is its name's where an entry says none."""
    one, two = entry("http://x/1", id="one"), entry("http://x/2", id="")
    found = parse_index(index({"one": one, "two": two}))
    assert [each.id for each in found] == ["one", "two"]
    written = index_of(map(msgspec.to_builtins, found), "x")
    assert written["models"] == {"one": one, "two": two | {"id": "two"}}
    assert parse_index(json.dumps(written).encode()) == found


def test_one_entry() -> None:
    """A document may be an entry itself."""
    assert [each.id for each in parse_index(json.dumps(entry("x", id="one")).encode())] == ["one"]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b"", "not a registry entry"),
        (b"\xff", "not a registry entry"),
        (b"[]", "not a registry entry"),
        (index([]), "not a registry entry"),
        (index({"bad one": {}}), "'bad one'"),
        (index({"bad one": 3}), "'bad one'"),
        (index({str(each): {} for each in range(MOST_ENTRIES + 1)}), "at most"),
    ],
)
def test_what_is_wrong(document: bytes, words: str) -> None:
    """The entry that is wrong is named."""
    with pytest.raises(ClientError, match=words):
        parse_index(document)
