"""Alternatives that begin alike, put so that each begins with what tells it from the others.

Where two alternatives begin with the same property, and that is the same choice again, the ways
that an engine has to follow double with each level (`schema_growth`).  In JSON the order of members
says nothing.  So what tells an alternative apart comes first: values that no other one has there
(`"type": "add"`, or one of some), or a name of its own.  Where such a value may be left out, as
Pydantic writes it for a default, it has to be there, which nothing that is generated breaks.
Whoever would be refused otherwise gets what the schema asks for, in this order.
"""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from typing import Any, NamedTuple

import msgspec

from runnerd.relay.request_rewrites.schema_references import found_by_engine, listed

_Schema = dict[str, Any]
_Values = frozenset[bytes]

_STEPS = 8
_MOST_MEMBERS = 100_000  # that are looked at, and values: each alternative has its own, many times


class TooMany(Exception):
    """There are too many alternatives, or sets of them, to look at each."""


class _Alternative(NamedTuple):
    """An object that is one of several: what it may have, and the few values that some of it has.

    `required` is in the order of the schema.
    """

    schema: _Schema
    properties: dict[str, Any]
    required: list[str]
    values: dict[str, _Values]


def told_apart(schema: _Schema) -> _Schema:
    """A copy of a schema, as the engine takes it, whose alternatives begin differently where they
    can.

    Raises TooMany.
    """
    made = deepcopy(schema)
    left = _MOST_MEMBERS
    todo: list[Any] = [made]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            for name in ("anyOf", "oneOf"):
                found = [_meant(made, each) for each in listed(node.get(name))]
                for each in found:
                    left -= _size(each)
                    if left < 0:
                        raise TooMany
                _begin_differently(found)
            todo += node.values()
        elif isinstance(node, list):
            todo += node
    return made


def few_values(schema: Any) -> _Values | None:
    """The values that a schema allows, as JSON, where it lists them."""
    if not isinstance(schema, dict) or "$ref" in schema or "anyOf" in schema or "oneOf" in schema:
        return None
    if "const" in schema:
        return frozenset({msgspec.json.encode(schema["const"])})
    values = schema.get("enum")
    return frozenset(map(msgspec.json.encode, values)) if isinstance(values, list) else None


def _meant(made: _Schema, node: Any) -> _Schema:
    seen = 0
    while isinstance(node, dict) and isinstance(ref := node.get("$ref"), str) and seen < _STEPS:
        node, seen = found_by_engine(made, ref[1:]), seen + 1
    return node if isinstance(node, dict) else {}


def _size(schema: _Schema) -> int:
    """How much of an alternative is looked at: its members, and the values that these list."""
    properties = schema.get("properties")
    found = properties.values() if isinstance(properties, dict) else ()
    return 1 + sum(1 + values_listed(each) for each in found)


def values_listed(schema: Any) -> int:
    """How many values a schema lists."""
    values = schema.get("enum") if isinstance(schema, dict) else None
    return len(values) if isinstance(values, list) else 0


def _begin_differently(schemas: list[_Schema]) -> None:
    found = []
    for schema in schemas:
        if isinstance(properties := schema.get("properties"), dict):
            said = set(map(str, listed(schema.get("required"))))
            few = {name: few_values(value) for name, value in properties.items()}
            values = {name: known for name, known in few.items() if known}
            required = [name for name in properties if name in said]
            found.append(_Alternative(schema, properties, required, values))
    if len(found) < 2:
        return
    names = Counter(name for each in found for name in each.properties)
    allowed = Counter(
        (name, value) for each in found for name, values in each.values.items() for value in values
    )

    def tells(each: _Alternative, name: str) -> bool:
        """Whether no other alternative has one of these values there, and others have it at all."""
        return names[name] > 1 and all(allowed[name, value] == 1 for value in each.values[name])

    for each in found:
        telling = dict.fromkeys(name for name in each.values if tells(each, name))
        first = [name for name in each.required if name in telling]
        if telling and not first:
            first = list(telling)[:1]
            each.schema["required"] = [*first, *listed(each.schema.get("required"))]
        own = [name for name in each.required if names[name] == 1]
        same = [name for name in each.required if len(each.values.get(name, ())) == 1]
        order = dict.fromkeys([*first, *same, *own])
        each.schema["properties"] = {
            **{name: each.properties[name] for name in order},
            **each.properties,
        }
