"""No two definitions are one to an engine, which calls them after letters and digits alone."""

from __future__ import annotations

import re
from typing import Any

import pytest

from runnerd.relay.request_rewrites.schema_references import found_by_engine
from runnerd.relay.request_rewrites.schemas import widened
from tests.support.schemas import Schema, of, ref

ONE, OTHER = {"const": 1}, {"const": 2}
PART = of(b={"enum": [1, 3]})


def meant(schema: Schema) -> tuple[list[str], list[Any]]:
    """The names that references of a schema's properties have for the engine, and their meaning."""
    made = widened(schema).schema
    refs = [each["$ref"][1:] for each in made["properties"].values()]
    return [path.rpartition("/")[2] for path in refs], [found_by_engine(made, p) for p in refs]


def meaning(made: Schema, node: Schema) -> Any:
    """What a schema is, through references."""
    while "$ref" in node:
        node = found_by_engine(made, node["$ref"][1:]) or {}
    return node


@pytest.mark.parametrize(
    ("names", "means"),
    [
        (["a_b", "a-b"], [ONE, OTHER]),
        (["a~1b", "0"], [ONE, OTHER]),
        (["a~1b", "__0"], [ONE, OTHER]),
        (["a", "a_b"], [PART, OTHER]),
        (["a-b-c", "a", "a_b"], [ONE, PART, OTHER]),
        (["a_b", "a-b", "a-b0", "a-b1-"], [ONE, OTHER, PART, ONE]),
    ],
)
def test_names_that_are_one_to_an_engine(names: list[str], means: list[Schema]) -> None:
    """One of them gets another name; what they mean stays."""
    defs = {name.replace("~1", "/"): each for name, each in zip(names, means, strict=True)}
    properties = {f"p{n}": ref(name) for n, name in enumerate(names)}
    found, values = meant({**of(**properties), "$defs": defs})
    assert values == means
    rules = [re.sub("[^a-zA-Z0-9-]+", "-", name) for name in found]
    assert not [(a, b) for a in rules for b in rules if a is not b and f"{b}-".startswith(f"{a}-")]


def test_what_leads_into_a_definition_goes_along() -> None:
    """Its reference names the definition, too."""
    inner = {"$ref": "#/$defs/a-b/properties/b"}
    schema = {**of(x=ref("a_b"), y=ref("a-b"), z=inner), "$defs": {"a_b": ONE, "a-b": PART}}
    assert meant(schema)[1] == [ONE, PART, PART["properties"]["b"]]


def test_others_keep_their_names() -> None:
    """Those that begin alike, too, and one into which a reference leads."""
    inner = {"$ref": "#/$defs/a/properties/b"}
    schema = {**of(x=ref("a"), y=ref("ab"), z=inner), "$defs": {"a": PART, "ab": ONE}}
    assert widened(schema).schema == schema
    assert not widened(schema).loosened


def test_what_is_no_definition_becomes_one() -> None:
    """Of two properties one would be the other one; each place keeps its meaning."""
    refs: Schema = {"r": {"$ref": "#/properties/a_b"}, "s": {"$ref": "#/properties/a-b"}}
    made = widened(of(**{"a_b": ONE, "a-b": OTHER, **refs}))
    found = {
        name: meaning(made.schema, made.schema["properties"][name])
        for name in made.schema["properties"]
    }
    assert (found, made.loosened) == ({"a_b": ONE, "a-b": OTHER, "r": ONE, "s": OTHER}, ())


def test_many_that_are_one() -> None:
    """Each gets a name; numbers are not tried again for each."""
    names = [f"a{'_' * n}b" for n in range(1, 3000)]
    schema = {**of(**{f"p{n}": ref(each) for n, each in enumerate(names)})}
    found, values = meant({**schema, "$defs": {each: {"const": each} for each in names}})
    assert values == [{"const": each} for each in names]
    assert len({each.replace("_", "") for each in found}) == len(names)
