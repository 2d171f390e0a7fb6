"""Alternatives that begin alike, put so that each begins with what tells it from the others.

Where two alternatives begin with the same property, and that is the same choice again, the ways
that an engine has to follow double with each level (`schema_growth`).  In JSON the order of members
says nothing.  So what an alternative alone has, a constant (`"type": "add"`) or a name of its own,
comes first: whoever would be refused otherwise gets what the schema asks for, in this order.
"""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from typing import Any

from runnerd.relay.request_rewrites.schema_references import found_by_engine, listed

_Schema = dict[str, Any]


def told_apart(schema: _Schema) -> _Schema:
    """A copy of a schema, as the engine takes it, whose alternatives begin differently where they
    can.
    """
    made = deepcopy(schema)
    todo: list[Any] = [made]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            for name in ("anyOf", "oneOf"):
                _begin_differently([_meant(made, each) for each in listed(node.get(name))])
            todo += node.values()
        elif isinstance(node, list):
            todo += node
    return made


def _meant(made: _Schema, node: Any) -> _Schema:
    if isinstance(node, dict) and isinstance(ref := node.get("$ref"), str):
        node = found_by_engine(made, ref[1:])
    return node if isinstance(node, dict) else {}


def _begin_differently(alternatives: list[_Schema]) -> None:
    found = [
        (each, properties, set(map(str, listed(each.get("required")))))
        for each in alternatives
        if isinstance(properties := each.get("properties"), dict)
    ]
    names = Counter(name for _, properties, _ in found for name in properties)
    for each, properties, required in found:
        said = [n for n in properties if n in required]
        first = [name for name in said if _is_constant(properties[name])]
        first += [name for name in said if names[name] == 1 and name not in first]
        each["properties"] = {**{name: properties[name] for name in first}, **properties}


def _is_constant(value: Any) -> bool:
    return isinstance(value, dict) and ("const" in value or len(listed(value.get("enum"))) == 1)
