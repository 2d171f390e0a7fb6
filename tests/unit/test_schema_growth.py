"""What a JSON schema has open after some text is known before an engine follows it."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runnerd.errors import ClientError
from runnerd.relay.parsed_request import parse
from runnerd.relay.request_rewrites.known_schemas import with_known_schemas
from runnerd.relay.request_rewrites.schemas import widened
from runnerd.relay.schema_growth import grows_too_far
from tests.support.schemas import Schema, beyond_help, of, ref

COVERS = ("runnerd.relay.request_rewrites.known_schemas",)

NOTHING = {"type": "null"}


def chain(levels: int, make: Callable[[Schema], Schema]) -> Schema:
    """Each definition is made of the next one."""
    defs = {f"a{n}": make(ref(f"a{n + 1}")) for n in range(levels)}
    return {**ref("a0"), "$defs": {**defs, f"a{levels}": {"type": "string"}}}


def recursive(*ways: Schema) -> Schema:
    return {**ref("a"), "$defs": {"a": {"anyOf": list(ways)}}}


DOUBLING: dict[str, Callable[[Schema], Schema]] = {
    "objects": lambda r: {"anyOf": [of(x=r, y=NOTHING), of(x=r, z=NOTHING)]},
    "oneOf": lambda r: {"oneOf": [of(x=r), of(x=r, z=NOTHING)]},
    "arrays": lambda r: {
        "anyOf": [{"type": "array", "items": r, "minItems": 1}, {"type": "array", "items": r}]
    },
    "tuples": lambda r: {"anyOf": [{"prefixItems": [r, NOTHING]}, {"prefixItems": [r]}]},
    "others": lambda r: {
        "anyOf": [
            {"type": "object", "additionalProperties": r},
            {"type": "object", "additionalProperties": r, "properties": {}},
        ]
    },
    "not required": lambda r: {"anyOf": [{"properties": {"x": r}}, {"properties": {"x": r}}]},
    "behind others": lambda r: of(
        a={"type": "string"}, b={"anyOf": [of(c=r, d=NOTHING), of(c=r, e=NOTHING)]}
    ),
}


@pytest.mark.parametrize("form", DOUBLING)
@pytest.mark.parametrize("levels", [10, 25])
def test_alternatives_within_alternatives_that_begin_alike(form: str, levels: int) -> None:
    """A real engine takes 5 s for ten levels of the first and minutes for twelve."""
    assert grows_too_far(widened(chain(levels, DOUBLING[form])).schema)


PADDED: dict[str, Callable[[str, Schema], Schema]] = {
    "values": lambda salt, r: of(k={"enum": [f"{salt}{n}" for n in range(300)]}, x=r),
    "the same values": lambda salt, r: of(k={"enum": [f"v{n}" for n in range(300)]}, x=r),
    "constants": lambda salt, r: of(
        k={"anyOf": [{"const": f"{salt}{n}"} for n in range(300)]}, x=r
    ),
}


@pytest.mark.parametrize("padding", PADDED)
@pytest.mark.parametrize("levels", [10, 25])
def test_values_in_front_hide_nothing(padding: str, levels: int) -> None:
    """However many are listed at each level, they are one word to look at."""
    numbers = itertools.count()

    def padded(r: Schema) -> Schema:
        found = DOUBLING["objects"](r)
        return {"anyOf": [PADDED[padding](f"a{next(numbers)}-", each) for each in found["anyOf"]]}

    made = widened(
        chain(levels, lambda r: PADDED[padding](f"b{next(numbers)}-", DOUBLING["objects"](r)))
    )
    assert grows_too_far(made.schema)
    assert not grows_too_far(widened(chain(4, padded)).schema)


@pytest.mark.parametrize("form", DOUBLING)
def test_a_few_levels_are_nothing(form: str) -> None:
    """An engine follows hundreds of ways in a moment."""
    assert not grows_too_far(widened(chain(6, DOUBLING[form])).schema)


def test_recursion_that_doubles() -> None:
    """It has no last level."""
    assert grows_too_far(recursive(of(x=ref("a"), y=NOTHING), of(x=ref("a"), z=NOTHING), NOTHING))


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param(chain(100, lambda r: of(x=r, y=r)), id="twice the next"),
        pytest.param(chain(100, lambda r: {"prefixItems": [r, r]}), id="tuples"),
        pytest.param(
            chain(20, lambda r: {"type": "array", "items": r, "minItems": 1000}), id="repeated"
        ),
        pytest.param(
            of(**{f"p{n}": {"type": "string", "maxLength": 1000} for n in range(500)}), id="long"
        ),
        pytest.param({"properties": {f"p{n}": NOTHING for n in range(300)}}, id="not required"),
        pytest.param(
            {"anyOf": [of(id={"type": "string"}, **{f"p{n}": NOTHING}) for n in range(400)]},
            id="many alternatives that begin alike",
        ),
        pytest.param(
            recursive(
                *(of(kind={"const": k}, left=ref("a"), right=ref("a")) for k in "abcdef"),
                of(kind={"const": "n"}, value={"type": "number"}),
            ),
            id="a syntax tree",
        ),
        pytest.param(
            recursive(
                {"type": "array", "items": ref("a")},
                {"type": "object", "additionalProperties": ref("a")},
                *({"type": kind} for kind in ("string", "number", "boolean", "null")),
            ),
            id="JSON itself",
        ),
        pytest.param(
            recursive(of(name={"type": "string"}, children={"type": "array", "items": ref("a")})),
            id="a tree",
        ),
        pytest.param({"anyOf": [True, {"$ref": "#/$defs/none"}, {"enum": [1, "a"]}]}, id="odd"),
        pytest.param({"type": ["object", "array", "null"]}, id="types"),
        pytest.param({}, id="anything"),
    ],
)
def test_others_are_left_to_the_engine(schema: Schema) -> None:
    """A real engine takes each of them in less than a second, however long it is."""
    assert not grows_too_far(widened(schema).schema)


LEAVES = st.sampled_from(["string", "number", "null"]).map(lambda kind: {"type": kind})
NAMES = st.sampled_from("abc")


def schemas(choices: bool) -> st.SearchStrategy[Schema]:
    """Schemas that refer to three definitions, with alternatives that begin differently."""

    def larger(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
        made = st.dictionaries(NAMES, inner, max_size=3).map(lambda found: of(**found))
        made |= st.dictionaries(NAMES, inner, max_size=3).map(lambda found: {"properties": found})
        made |= inner.map(lambda item: {"type": "array", "items": item, "minItems": 2})
        made |= st.lists(inner, min_size=1, max_size=3).map(lambda found: {"prefixItems": found})
        if choices:
            made |= st.lists(inner, min_size=1, max_size=3).map(
                lambda found: {"anyOf": [of(kind={"const": n}, x=x) for n, x in enumerate(found)]}
            )
        return made

    return st.recursive(LEAVES | NAMES.map(ref), larger, max_leaves=12)


@settings(max_examples=200, deadline=None)
@given(st.booleans().flatmap(lambda choices: st.tuples(*[schemas(choices)] * 4)))
def test_what_begins_differently_is_never_refused(found: tuple[Schema, ...]) -> None:
    """However it refers to itself."""
    root, *others = found
    defs = dict(zip("abc", others, strict=True))
    assert not grows_too_far(widened({**root, "$defs": defs}).schema)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["a", "#/$defs/a", "object"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["$ref", "anyOf", "oneOf", "properties", "items", "type", "$defs", "required",
                 "additionalProperties", "prefixItems", "a"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=40,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(JSON)
def test_whatever_comes_takes_steps_within_a_bound(schema: Any) -> None:
    """Also what no engine would take for a schema."""
    steps = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal steps
        steps += event == "call"

    made = widened(schema).schema
    sys.setprofile(count)
    try:
        grows_too_far(made)
    finally:
        sys.setprofile(None)
    assert steps < 100_000


@pytest.mark.parametrize(
    "place",
    [
        lambda found: {"json_schema": found},
        lambda found: {
            "response_format": {"type": "json_schema", "json_schema": {"schema": found}}
        },
        lambda found: {"response_format": {"type": "json_object", "schema": found}},
        lambda found: {"tools": [{"type": "function", "function": {"parameters": found}}]},
    ],
)
def test_it_is_refused_wherever_it_stands(place: Any) -> None:
    """In words that say what to change; what is remembered is refused again."""
    body = json.dumps({"model": "m", **place(beyond_help())}).encode()
    for _ in range(2):
        with pytest.raises(ClientError, match=r"unfolds too far.*in front") as refused:
            with_known_schemas(parse(body))
        assert refused.value.param in ("json_schema", "response_format", "tools")
