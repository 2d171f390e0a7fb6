"""Registry entries: Pantry's JSON, and what makes two the same."""

from __future__ import annotations

import json

import msgspec
import pytest

from runnerd.errors import ClientError
from runnerd.llms.entry import (
    MOST_BYTES,
    ConnectorType,
    LLMRegistryEntry,
    changed,
    encoded,
    parse_entry,
)
from tests.support.pantry import entry


def parsed(**said: object) -> LLMRegistryEntry:
    return parse_entry(json.dumps(entry("http://x/y.gguf") | said))


def test_the_names_are_pantrys() -> None:
    """What is written is what was read."""
    said = entry("http://x/y.gguf")
    assert json.loads(encoded(parse_entry(json.dumps(said)))) == said
    assert len(said) == len(LLMRegistryEntry.__struct_fields__)


def test_two_fields_are_enough() -> None:
    """The documentation asks for id and connector alone."""
    found = parse_entry('{"id": "x", "connectorType": "llmrs"}')
    assert (found.local, found.parameters, found.backend_uuid) == (True, {}, "")


@pytest.mark.parametrize("kind", ConnectorType)
def test_connectors(kind: ConnectorType) -> None:
    """An entry has them in lower case, a status as they are called."""
    assert parsed(connectorType=kind.value).connector_type is kind
    assert kind.shown.lower() == kind.value


@pytest.mark.parametrize(
    "document",
    [
        "",
        "[]",
        "{}",
        '{"id": "", "connectorType": "llmrs"}',
        '{"id": "x", "connectorType": "LLMrs"}',
        '{"id": "x", "connectorType": "llmrs", "capabilities": {"general": 1.5}}',
        '{"id": "x", "connectorType": "llmrs", "capabilities": {"general": 9999999999}}',
        '{"id": "x", "connectorType": "llmrs", "tags": "one"}',
        '{"id": "x", "connectorType": "llmrs", "config": ' + "[" * 10_000 + "}",
        b"\xff",
    ],
)
def test_what_is_none(document: str | bytes) -> None:
    """It is refused in words."""
    with pytest.raises(ClientError, match="not a registry entry"):
        parse_entry(document)


def test_a_large_one() -> None:
    """Entries have an end."""
    with pytest.raises(ClientError, match="at most"):
        parsed(description="x" * MOST_BYTES)


@pytest.mark.parametrize("name", ["description", "name", "license", "tags", "capabilities"])
def test_what_only_describes(name: str) -> None:
    """It does not tell two LLMs apart."""
    other = {"tags": ["x"], "capabilities": {"coding": 5}}.get(name, "other")
    assert parsed(**{name: other}).is_same(parsed())


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("id", "other"),
        ("familyId", "other"),
        ("url", "http://x/z.gguf"),
        ("local", False),
        ("connectorType", "openai"),
        ("config", {}),
        ("parameters", {"top_k": 1}),
        ("sessionParameters", {"system_prompt": "x"}),
        ("userParameters", []),
        ("userSessionParameters", []),
    ],
)
def test_what_counts(name: str, other: object) -> None:
    """It does."""
    assert not parsed(**{name: other}).is_same(parsed())


def test_the_order_of_names() -> None:
    """Of lists of parameters the order does not count."""
    ordered, turned = ["a", "b"], ["b", "a"]
    assert parsed(userParameters=ordered).is_same(parsed(userParameters=turned))


def test_changes() -> None:
    """Some fields change, by Pantry's names; a wrong name says which there are."""
    found = changed(parsed(), {"familyId": "other", "tags": []})
    assert found == msgspec.structs.replace(parsed(), family_id="other", tags=[])
    with pytest.raises(ClientError, match="no field 'family_id'; it has id, familyId"):
        changed(parsed(), {"family_id": "other"})
    with pytest.raises(ClientError):
        changed(parsed(), {"tags": 1})
