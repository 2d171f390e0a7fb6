"""JSON schemas whose alternatives double the ways that an engine has to follow."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    """A reference to a definition."""
    return {"$ref": f"#/$defs/{name}"}


def of(**properties: Schema) -> Schema:
    """An object that has these properties, in this order."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def beyond_help(levels: int = 10) -> Schema:
    """One that doubles, and whose alternatives come about in more sets than can be merged: what was
    chosen at one level shows `levels` later.
    """
    again, one, other = ref("a"), {"type": "null"}, {"type": "number"}
    defs: Schema = {f"b{n}": _either(ref(f"b{n + 1}")) for n in range(levels)}
    alternatives = [of(x=again, e=one), of(x=again, e=other), of(y=again), of(x=ref("b0"))]
    defs |= {f"b{levels}": {"type": "string"}, "a": {"anyOf": alternatives}}
    return {**again, "$defs": defs}


def _either(schema: Schema) -> Schema:
    return {"anyOf": [of(x=schema), of(y=schema)]}
