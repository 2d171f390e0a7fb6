"""Schemas in the engine's words: what is said anew, what is widened, what is told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.relay.request_rewrites.schemas import NODES, of_arguments, widened

OBJECT = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


@pytest.mark.parametrize(
    ("schema", "made", "loosened"),
    [
        (OBJECT, OBJECT, ()),
        (True, {}, ("true",)),
        ({"type": "STRING"}, {"type": "string"}, ("type STRING",)),
        ({"type": "flying"}, {}, ("type flying",)),
        (
            {"type": "integer", "nullable": True},
            {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            ("nullable",),
        ),
        ({"$ref": "https://example.com/x"}, {}, ("$ref",)),
        ({"enum": []}, {}, ("enum",)),
        ({"anyOf": "x", "type": "null"}, {"type": "null"}, ("anyOf",)),
    ],
)
def test_what_is_said_anew(schema: Any, made: dict[str, Any], loosened: tuple[str, ...]) -> None:
    """What the engine knows stays, what it does not becomes its word, or any value."""
    found = widened(schema)
    assert (found.schema, found.loosened) == (made, loosened)


@pytest.mark.parametrize(
    ("schema", "what"),
    [
        ({"type": "number", "multipleOf": 2}, "multipleOf"),
        ({"type": "number", "minimum": 2}, "minimum"),
        ({"type": "array", "minItems": 5, "maxItems": 3}, "minItems"),
        ({"type": "string", "minLength": 10**9}, "minLength"),
        ({"type": "string", "format": "email"}, "format email"),
        ({"type": "array", "prefixItems": [{}], "items": {}}, "items"),
    ],
)
def test_what_is_not_enforced_is_told(schema: dict[str, Any], what: str) -> None:
    """The model still reads it; the client is warned."""
    assert what in widened(schema).unenforced


def test_bounds_of_whole_numbers_are_enforced() -> None:
    """Those the engine holds."""
    schema = {"type": "integer", "minimum": 1, "maximum": 5}
    assert widened(schema).unenforced == ()
    assert widened(schema).schema == schema


def test_all_of_is_put_together() -> None:
    """Parts, references among them, become one object; disagreement is told."""
    schema = {
        "$defs": {"base": {"properties": {"a": {"type": "string"}}, "required": ["a"]}},
        "allOf": [{"$ref": "#/$defs/base"}, {"properties": {"b": {}}, "required": ["b"]}],
    }
    made = widened(schema)
    assert set(made.schema["properties"]) == {"a", "b"}
    assert made.schema["required"] == ["a", "b"]
    assert made.unenforced == ()
    assert "allOf" in widened({"allOf": [{"type": "string"}, {"type": "null"}]}).unenforced


def test_a_reference_to_the_document_itself() -> None:
    """It gets a name that the engine finds, wherever the schema is put."""
    schema = {"type": "object", "properties": {"child": {"$ref": "#"}}}
    assert widened(schema).schema["properties"]["child"] == {"$ref": "#/$defs/__0"}
    put = widened(schema, at="#/$defs/tool").schema
    assert put["properties"]["child"] == {"$ref": "#/$defs/tool"}


def test_arguments_are_an_object() -> None:
    """At their top, also behind a reference; what says otherwise is widened."""
    assert of_arguments({}).schema == {"type": "object"}
    assert of_arguments({"$ref": "#/$defs/a", "$defs": {"a": OBJECT}}).schema["required"] == ["a"]
    other = of_arguments({"type": "string"})
    assert (other.schema, other.loosened) == ({"type": "object"}, ("type",))


def test_a_large_one_costs_no_more_than_is_allowed() -> None:
    """What lies beyond is any value, and said to be."""
    schema = {"type": "array", "prefixItems": [{"type": "null"}] * 100}
    made = widened(schema, most=50)
    assert made.schema["prefixItems"][-1] == {}
    assert "its size" in made.loosened


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(
            ["type", "$ref", "$defs", "anyOf", "oneOf", "allOf", "properties", "items", "enum",
             "pattern", "minimum", "maxLength", "nullable", "additionalProperties", "format"]
        ),
        inner,
        max_size=5,
    ),
    max_leaves=20,
)  # fmt: skip


@given(_JSON)
def test_anything_gives_a_schema(schema: Any) -> None:
    """Whatever a client sends: an object comes out, and the client's own is untouched."""
    before = repr(schema)
    assert isinstance(widened(schema).schema, dict)
    assert isinstance(of_arguments(schema).schema, dict)
    assert repr(schema) == before


def test_parts_that_are_put_together_are_bounded_and_stay_in_their_order() -> None:
    """However often a part is named: each time it counts as long as it is."""
    base = {"properties": {"a": {}, "b": {}}, "required": ["a"]}
    own = {"properties": {"c": {}}, "required": ["c"]}
    made = widened({"allOf": [{"$ref": "#/$defs/base"}, own], "$defs": {"base": base}}).schema
    assert list(made["properties"]) == ["a", "b", "c"]
    assert made["required"] == ["a", "c"]
    assert base["required"] == ["a"]  # it is others' as well
    parts = [{"$ref": "#/$defs/long"}, {"$ref": "#/$defs/other"}]
    long = {"required": ["a"] * 100}
    many = {"allOf": parts * 1000, "$defs": {"long": long, "other": {**long}}}
    assert widened(many).cost <= NODES + 200
    assert "its size" in widened(many).loosened


def test_a_place_in_a_list_has_one_name() -> None:
    """Else a few entries would be as many references as somebody likes."""
    schema = {"anyOf": [{"$ref": "#/$defs/x/anyOf/01"}], "$defs": {"x": {"anyOf": [{}, {}]}}}
    assert widened(schema).loosened == ("$ref",)
