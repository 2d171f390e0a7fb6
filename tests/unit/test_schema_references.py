"""References within a schema, as the document and as the engine reads them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.relay.request_rewrites.schema_references import (
    NOTHING,
    circular,
    found_by_engine,
    listed,
    meant_by,
)

ROOT: dict[str, Any] = {
    "$defs": {"a/b": {"type": "string"}, "a b": {"type": "null"}, "list": [{"type": "array"}]},
    "type": "object",
}


@pytest.mark.parametrize(
    ("ref", "meant"),
    [
        ("#", ROOT),
        ("#/$defs/a~1b", {"type": "string"}),
        ("#/$defs/a%20b", {"type": "null"}),
        ("#/$defs/list/0", {"type": "array"}),
    ],
)
def test_what_a_reference_means(ref: str, meant: object) -> None:
    """Escapes are read, and lists have numbers."""
    assert meant_by(ROOT, ref) is meant or meant_by(ROOT, ref) == meant


@pytest.mark.parametrize(
    "ref",
    ["", "x", "https://a/b", "#/$defs/c", "#/$defs/list/1", "#/$defs/list/-1", "#$defs", "#/type/0",
     "#/$defs/list/" + "9" * 5000, "#" + "/a" * 100_000],
)  # fmt: skip
def test_what_leads_nowhere(ref: str) -> None:
    """Nothing is found, and nothing breaks, however long it is."""
    assert meant_by(ROOT, ref) is NOTHING


def test_the_engine_reads_no_escapes() -> None:
    """It takes names as they are written, and a schema must be an object."""
    assert found_by_engine(ROOT, "/$defs/a%20b") is None
    assert found_by_engine(ROOT, "/$defs/a b") == {"type": "null"}
    assert found_by_engine(ROOT, "/type") is None
    assert found_by_engine(ROOT, "") is ROOT


def widened(definitions: dict[str, Any]) -> dict[str, Any]:
    """Definitions with every circle broken, as the walk does it."""
    refs = [node for each in definitions.values() for node in nodes(each) if "$ref" in node]
    for node in circular(refs, lambda ref: definitions.get(ref)):
        node.clear()
    return definitions


def nodes(schema: Any) -> list[dict[str, Any]]:
    """A schema and those that it may be."""
    return [schema, *(node for each in schema.get("anyOf", ()) for node in nodes(each))]


@pytest.mark.parametrize(
    ("definitions", "broken"),
    [
        ({"a": {"$ref": "a"}}, {"a": {}}),
        ({"a": {"$ref": "b"}, "b": {"$ref": "a"}}, {"a": {}, "b": {"$ref": "a"}}),
        (
            {"a": {"anyOf": [{"type": "null"}, {"$ref": "a"}]}},
            {"a": {"anyOf": [{"type": "null"}, {}]}},
        ),
    ],
)
def test_circles_are_broken_once(definitions: dict[str, Any], broken: dict[str, Any]) -> None:
    """One reference of each circle is widened, the others stay."""
    assert widened(definitions) == broken


def test_a_circle_through_a_property_is_none() -> None:
    """A tree refers to itself, with something around: grammars can say that."""
    tree: dict[str, dict[str, Any]] = {
        "a": {"properties": {"child": {"$ref": "a"}}},
        "b": {"$ref": "a"},
    }
    assert list(circular([tree["b"]], tree.get)) == []


NAMES = st.sampled_from("abcdef")
_REFS = NAMES.map(lambda name: {"$ref": name})
_SCHEMAS = _REFS | st.lists(_REFS | st.just({"type": "null"}), max_size=3).map(
    lambda found: {"anyOf": found}
)


@given(st.dictionaries(NAMES, _SCHEMAS))
def test_no_circle_is_left(definitions: dict[str, Any]) -> None:
    """Whoever follows references comes to an end."""
    made = widened(definitions)

    def follow(name: str, path: tuple[str, ...]) -> None:
        assert name not in path
        for node in nodes(made.get(name, {})):
            if "$ref" in node:
                follow(node["$ref"], (*path, name))

    for name in made:
        follow(name, ())


def test_lists() -> None:
    """One value, several or none."""
    assert (listed(None), listed("x"), listed(["x", "y"])) == ([], ["x"], ["x", "y"])
