"""Alternatives that cannot be told apart become one that allows all of them; what more is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runnerd.relay.parsed_request import parse
from runnerd.relay.request_rewrites.known_schemas import with_known_schemas
from runnerd.relay.request_rewrites.merged_alternatives import merged_alternatives
from runnerd.relay.request_rewrites.told_apart import TooMany
from runnerd.relay.schema_growth import grows_too_far
from tests.support.schemas import Schema, beyond_help, of, ref

ONE, OTHER = {"type": "null"}, {"type": "number"}


def recursive(*ways: Schema) -> Schema:
    return {**ref("a"), "$defs": {"a": {"anyOf": list(ways)}}}


EXACT = {
    "the same twice": recursive(ONE, of(x=ref("a")), {**of(x=ref("a")), "title": "Other"}),
    "one property differs": recursive(ONE, of(x=ref("a"), y=ONE), of(x=ref("a"), y=OTHER)),
    "any names": recursive(
        ONE,
        {"type": "object", "additionalProperties": ref("a")},
        {"type": "object", "properties": {"x": ref("a")}, "additionalProperties": ref("a")},
    ),
}
LOOSENED = {
    "two differ": recursive(ONE, of(x=ref("a"), y=ONE, z=ONE), of(x=ref("a"), y=OTHER, z=OTHER)),
    "one has more": recursive(ONE, of(x=ref("a")), of(x=ref("a"), y=ONE)),
    "arrays": recursive(
        ONE,
        {"type": "array", "items": ref("a"), "minItems": 1},
        {"type": "array", "items": ref("a"), "maxItems": 9},
    ),
    "tuples": recursive(
        ONE, {"type": "array", "prefixItems": [ref("a"), ONE]},
        {"type": "array", "prefixItems": [ref("a")]},
    ),
    "any names, of two kinds": recursive(
        ONE,
        {"type": "object", "additionalProperties": ref("a")},
        {"type": "object", "properties": {"x": ONE}, "additionalProperties": OTHER},
    ),
    "nothing required": recursive(
        ONE, {"properties": {"x": ref("a"), "y": ONE}}, {"properties": {"x": ref("a"), "z": ONE}}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXACT)
def test_what_allows_nothing_more(name: str) -> None:
    """Where at most one property differs; such a client is told of another order alone."""
    made = merged_alternatives(EXACT[name])
    assert not made.loosened
    assert not grows_too_far(made.schema)


@pytest.mark.parametrize("name", LOOSENED)
def test_what_allows_more(name: str) -> None:
    """It is said, and an engine can follow it."""
    made = merged_alternatives(LOOSENED[name])
    assert made.loosened
    assert not grows_too_far(made.schema)


def test_what_is_told_apart_stays_apart() -> None:
    """Only those that begin alike become one."""
    apart = of(kind={"const": "leaf"}, value=OTHER)
    alike = [of(kind={"const": "pair"}, x=ref("a"), y=each) for each in (ONE, OTHER)]
    made = merged_alternatives(recursive(apart, *alike))
    [first, second] = made.schema["anyOf"]
    assert first == apart
    assert list(second["properties"]) == ["kind", "x", "y"]
    assert made.schema["$defs"][second["properties"]["y"]["$ref"].rpartition("/")[2]] == {
        "anyOf": [ONE, OTHER]
    }


def test_there_are_too_many_sets() -> None:
    """Then there is no such schema."""
    assert grows_too_far(beyond_help())
    with pytest.raises(TooMany):
        merged_alternatives(beyond_help())


def test_what_is_looked_at_again_and_again_is_counted() -> None:
    """Values that are listed, and texts that have no name of their own: a set has them each time.

    They took minutes.
    """
    some = {"enum": list(range(5000))}
    for end in (of(k=some), {**of(k=some), "type": ["object", "null"]}):
        defs: Schema = {
            f"d{n}": {"anyOf": [ref("end"), of(k=ref("d0"), y=ref(f"d{(n + 1) % 100}"), z=each)]}
            for n, each in enumerate([ONE, OTHER] * 50)
        }
        with pytest.raises(TooMany):
            merged_alternatives({**ref("d0"), "$defs": {**defs, "end": end}})


def test_a_name_of_one_and_any_name_of_another() -> None:
    """Such a property may be what it is in either."""
    text = {"type": "string"}
    any_name = {"type": "object", "properties": {}, "additionalProperties": OTHER}
    schema: Schema = {"anyOf": [of(x=text), any_name, {**any_name, "additionalProperties": ONE}]}
    made = merged_alternatives(schema)
    assert made.loosened
    for value in ({"x": "s"}, {"x": 1}, {"x": None}, {"y": 1}, {"x": "s", "y": None}):
        assert allows(made.schema, made.schema, value), value
    assert not allows(made.schema, made.schema, {"y": "s"})


@pytest.mark.parametrize(
    ("schema", "words"),
    [(EXACT["one property differs"], "reordered"), (LOOSENED["two differ"], "widened")],
)
def test_clients_are_told(schema: Schema, words: str) -> None:
    """Of schemas for responses and of tools."""
    body = json.dumps({"model": "m", "json_schema": schema}).encode()
    told = f"json_schema: {words}: alternatives that begin alike"
    assert with_known_schemas(parse(body))[1] == (told,)
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    body = json.dumps({"model": "m", "tools": [tool]}).encode()
    assert with_known_schemas(parse(body))[1][0].startswith(f"tools: {words}: f")


_VALUES = st.recursive(
    st.sampled_from([None, 1, "s"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xyz"), inner),
    max_leaves=6,
)
_LEAVES = st.sampled_from([ONE, OTHER, {"type": "string"}, ref("a"), ref("b"), {"const": 1}])


def _objects(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    found = st.dictionaries(st.sampled_from("xyz"), inner, min_size=1, max_size=3)
    return found.flatmap(
        lambda properties: st.builds(
            lambda names, more: {
                **{"type": "object", "properties": properties, "required": names},
                **({} if more is None else {"additionalProperties": more}),
            },
            st.lists(st.sampled_from(sorted(properties)), unique=True),
            st.none() | st.booleans() | inner,
        )
    )


_SCHEMAS = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda found: {"anyOf": found}),
        _objects(inner),
        inner.map(lambda item: {"type": "array", "items": item}),
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(a=_SCHEMAS, b=_SCHEMAS, value=_VALUES)
def test_whatever_was_allowed_is_allowed(a: Schema, b: Schema, value: Any) -> None:
    """And where nothing was loosened, nothing else is."""
    schema = {"anyOf": [ref("a"), ref("b")], "$defs": {"a": a, "b": b}}
    made = merged_alternatives(schema)
    before, after = allows(schema, schema, value), allows(made.schema, made.schema, value)
    assert after if before else made.loosened or not after


def allows(root: Schema, schema: Schema, value: Any, seen: tuple[str, ...] = ()) -> bool:
    """Whether a schema allows a value; a circle of references allows none."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return name not in seen and allows(root, root["$defs"][name], value, (*seen, name))
    if "anyOf" in schema:
        return any(allows(root, each, value, seen) for each in schema["anyOf"])
    if "const" in schema:
        return bool(value == schema["const"])
    if "type" not in schema:
        return True
    if schema["type"] == "array":
        items = schema.get("items", {"anyOf": []})
        return isinstance(value, list) and all(allows(root, items, each) for each in value)
    if schema["type"] == "object":
        more = schema.get("additionalProperties", False)
        any_name = more if isinstance(more, dict) else {} if more else {"anyOf": []}
        return (
            isinstance(value, dict)
            and set(schema.get("required", ())) <= value.keys()
            and all(allows(root, schema["properties"].get(k, any_name), value[k]) for k in value)
        )
    kinds: dict[str, Any] = {"null": type(None), "number": int, "string": str}
    return isinstance(value, kinds[schema["type"]])
