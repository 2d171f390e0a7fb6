"""JSON schemas, of tools and of responses, widened to what llama-server understands.

It knows a subset, and refuses the whole request for one word outside of it: `true` for a schema, a
type in capitals, a reference to the document itself.  Clients send all of these.  What it cannot
read is said in its words here, or widened: to any value at worst.  What it reads and does not hold
a response to is told, too.  Everything else stays as the client wrote it: the model reads it.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

from runnerd.relay.request_rewrites.patterns import engine_pattern
from runnerd.relay.request_rewrites.reference_rules import Referring, tell_rules_apart
from runnerd.relay.request_rewrites.schema_references import (
    DEEPEST,
    at_path,
    circular,
    found_by_engine,
    is_found_by_engine,
    listed,
    meant_by,
    path_of,
)

NODES = 20_000
"""So many schemas of one request are read; what lies beyond is any value."""

_MOST_TIMES = 1000  # the engine repeats a rule 2000 times at most, and multiplies
_LARGEST = 2**53
_MOST_COPIES = 64
_TYPES = frozenset({"null", "boolean", "number", "integer", "string", "array", "object"})
_ALIASES = {
    **{"float": "number", "double": "number", "decimal": "number", "numeric": "number"},
    **{"int": "integer", "int32": "integer", "int64": "integer", "long": "integer"},
    **{"bool": "boolean", "str": "string", "text": "string", "none": "null"},
    **{"dict": "object", "map": "object", "list": "array", "tuple": "array"},
}
_FORMATS = frozenset({"date", "time", "date-time", "uuid", *(f"uuid{n}" for n in range(1, 6))})
_UNENFORCED = (
    "multipleOf", "uniqueItems", "minProperties", "maxProperties", "patternProperties",
    "propertyNames", "contains", "not", "if", "dependentRequired", "dependentSchemas",
    "unevaluatedProperties", "unevaluatedItems",
)  # fmt: skip
_SUBJECTS = ("properties", "enum", "const", "items", "prefixItems")
_DEFINITIONS = ("$defs", "definitions")


class Widened(NamedTuple):
    """A schema that the engine takes; what of it was widened, and what it does not enforce."""

    schema: dict[str, Any]
    loosened: tuple[str, ...]
    unenforced: tuple[str, ...]
    cost: int  # of schemas that were read
    refs: list[dict[str, Any]]  # the nodes with references


def widened(schema: Any, at: str = "#", most: int = NODES) -> Widened:
    """A schema that says the same to the engine, as far as it can.

    `at` is where it will be put, `most` how many schemas within it are read.
    """
    widening = _Widening(schema, at, most)
    made = widening.whole()
    loosened, unenforced = tuple(widening.loosened), tuple(widening.unenforced)
    return Widened(made, loosened, unenforced, most - widening.left, widening.refs)


def of_arguments(schema: Any, at: str = "#", most: int = NODES) -> Widened:
    """The same for a tool's parameters: they are an object, and say so at their top."""
    top, seen = schema, 0
    while isinstance(top, dict) and isinstance(ref := top.get("$ref"), str) and seen < DEEPEST:
        target, seen = meant_by(schema, ref), seen + 1
        if not isinstance(target, dict):
            break
        definitions = {name: schema[name] for name in _DEFINITIONS if name in schema}
        top = {**target, **definitions}
    made = widened(top, at, most)
    if made.schema.get("type") == "object" or any(
        name in made.schema for name in ("anyOf", "oneOf", "allOf")
    ):
        return made
    typed = {"type": "object", **{k: v for k, v in made.schema.items() if k in _OF_OBJECTS}}
    said = isinstance(top, dict) and "type" in top
    loosened = (*made.loosened, *(["type"] if said else []))
    return made._replace(schema=typed, loosened=loosened)


_OF_OBJECTS = ("properties", "required", "additionalProperties", "description", *_DEFINITIONS)


class _Widening:
    """The walk through one schema."""

    def __init__(self, root: Any, at: str, most: int) -> None:
        self._root = root
        self._at = at
        self.left = most
        self.refs: list[dict[str, Any]] = []
        self._copies: dict[tuple[str, ...], str] = {}  # what is meant, and its name in $defs
        self._made: dict[str, Any] = {}
        self.loosened: dict[str, None] = {}
        self.unenforced: dict[str, None] = {}

    def whole(self) -> dict[str, Any]:
        made = self._node(self._root, 0)
        while pending := [path for path in self._copies if self._copies[path] not in self._made]:
            for path in pending:
                self._made[self._copies[path]] = self._node(at_path(self._root, path), 1)
        if self._made:
            kept = made.get("$defs")
            made["$defs"] = {**(kept if isinstance(kept, dict) else {}), **self._made}
        for node in self.refs:
            if found_by_engine(made, node["$ref"][len(self._at) :]) is None:
                self._any(node, "$ref")
        for node in circular(self.refs, lambda ref: found_by_engine(made, ref[len(self._at) :])):
            self._any(node, "$ref")
        tell_rules_apart([Referring(made, self.refs, self._at)])
        return made

    def _any(self, node: dict[str, Any], why: str) -> dict[str, Any]:
        self.loosened[why] = None
        node.clear()
        return node

    def _node(self, schema: Any, depth: int) -> dict[str, Any]:
        self.left -= 1
        if not isinstance(schema, dict):
            return self._any({}, str(schema).lower() if isinstance(schema, bool) else "a schema")
        if self.left < 0 or depth > DEEPEST:
            return self._any({}, "its size")
        node = dict(schema)
        if node.pop("nullable", None) is True and node.get("type") != "null":
            self.loosened["nullable"] = None
            told = {k: node.pop(k) for k in _DEFINITIONS if k in node and depth == 0}
            return {"anyOf": [self._node(node, depth + 1), {"type": "null"}], **told}
        self._definitions(node, depth)
        if "$ref" in node:
            return self._reference(node)
        self._alternatives(node, depth)
        if "allOf" in node:
            return self._all(node, depth)
        self._type(node)
        self._object(node, depth)
        self._array(node, depth)
        self._string(node)
        self._numbers(node)
        self._values(node)
        for name in _UNENFORCED:
            if name in node:
                self.unenforced[name] = None
        return node

    def _definitions(self, node: dict[str, Any], depth: int) -> None:
        for name in _DEFINITIONS:
            if name in node:
                self._members(node, name, depth)

    def _members(self, node: dict[str, Any], name: str, depth: int) -> None:
        """Widen the schemas in a member that holds them by name."""
        if isinstance(node[name], dict):
            node[name] = {k: self._node(v, depth + 1) for k, v in node[name].items()}
        else:
            self._drop(node, name)

    def _drop(self, node: dict[str, Any], name: str) -> None:
        del node[name]
        self.loosened[name] = None

    def _reference(self, node: dict[str, Any]) -> dict[str, Any]:
        ref = node["$ref"]
        if not isinstance(ref, str) or (path := path_of(self._root, ref)) is None:
            return self._any(node, "$ref")
        if is_found_by_engine(self._root, path):
            ref = "#" + "".join(f"/{name}" for name in path)
        elif path or self._at == "#":  # else it means all that is put there
            if len(self._copies) >= _MOST_COPIES and path not in self._copies:
                return self._any(node, "$ref")
            name = self._copies.get(path) or self._name_of_copy()
            self._copies[path] = name
            ref = f"#/$defs/{name}"
        else:
            ref = "#"
        node["$ref"] = self._at + ref[1:]
        self.refs.append(node)
        return node

    def _name_of_copy(self) -> str:
        """One that no definition has."""
        found = self._root.get("$defs")
        taken = {*(found if isinstance(found, dict) else ()), *self._copies.values()}
        return next(name for n in itertools.count() if (name := f"__{n}") not in taken)

    def _alternatives(self, node: dict[str, Any], depth: int) -> None:
        for name in ("oneOf", "anyOf"):
            if name not in node:
                continue
            found = node[name]
            if not isinstance(found, list) or not found:
                self._drop(node, name)
            elif any(each in node for each in _SUBJECTS):  # the engine would see nothing else
                del node[name]
                self.unenforced[name] = None
            else:
                node[name] = [self._node(each, depth + 1) for each in found]
        if "oneOf" in node and "anyOf" in node:
            del node["anyOf"]
            self.unenforced["anyOf"] = None

    def _all(self, node: dict[str, Any], depth: int) -> dict[str, Any]:
        """Put the parts of `allOf` together: the engine knows those of objects alone."""
        parts = node.pop("allOf")
        if not isinstance(parts, list):
            self.loosened["allOf"] = None
            parts = []
        if node.get("oneOf") or node.get("anyOf"):
            self.unenforced["allOf"] = None
            return node
        merged = dict(node)
        seen: set[str | int] = set()
        for part in parts:
            if self.left < 0:
                self.loosened["its size"] = None
                break
            self.left -= 1
            if isinstance(part, dict) and isinstance(part.get("$ref"), str):
                part = meant_by(self._root, part["$ref"])
            if isinstance(part, dict):
                self._merge(merged, part, seen)
            elif part is not True:
                self.loosened["allOf"] = None
        for name in _DEFINITIONS:  # they are widened already
            merged.pop(name, None)
        kept = {name: node[name] for name in _DEFINITIONS if name in node}
        return {**self._node(merged, depth + 1), **kept}

    def _merge(self, merged: dict[str, Any], part: dict[str, Any], seen: set[str | int]) -> None:
        """Put a part into what is merged.  `seen` has the names of members that were copied, and
        may be added to, and the identities of values that were compared: many parts may be one.
        """
        for name, value in part.items():
            self.left -= len(value) if isinstance(value, dict | list | str) else 1
            if name not in merged:
                merged[name] = value
                continue
            old = merged[name]
            lists = name in ("required", "allOf") and isinstance(old, list) and old is not value
            if lists or (isinstance(old, dict) and isinstance(value, dict)):
                if name not in seen:
                    seen.add(name)
                    old = merged[name] = old.copy()
                if isinstance(old, dict):
                    for each, inner in value.items():
                        old.setdefault(each, inner)
                elif isinstance(value, list):
                    old += value
            elif id(value) not in seen and name not in ("title", "description"):
                seen.add(id(value))
                if old != value:
                    self.unenforced["allOf"] = None

    def _type(self, node: dict[str, Any]) -> None:
        if "type" not in node:
            return
        said = node["type"]
        listed = said if isinstance(said, list) else [said]
        known = list(dict.fromkeys(name for each in listed if (name := _known(each)) is not None))
        if known != listed:
            self.loosened["type" if not isinstance(said, str) else f"type {said[:40]}"] = None
        wide = len(known) < len(listed) and any(_known(each) is None for each in listed)
        if wide or not known:
            del node["type"]
        elif known != listed or len(known) == 1:
            node["type"] = known if len(known) > 1 else known[0]

    def _object(self, node: dict[str, Any], depth: int) -> None:
        if "properties" in node:
            self._members(node, "properties", depth)
        if "additionalProperties" in node:
            more = node["additionalProperties"]
            if isinstance(more, dict):
                node["additionalProperties"] = self._node(more, depth + 1)
            elif not isinstance(more, bool):
                self._drop(node, "additionalProperties")
        if "patternProperties" in node and node.get("additionalProperties") is False:
            node["additionalProperties"] = True

    def _array(self, node: dict[str, Any], depth: int) -> None:
        if isinstance(node.get("prefixItems"), list) and "items" in node:
            del node["items"]
            self.unenforced["items"] = None
        for name in ("items", "prefixItems"):
            if isinstance(found := node.get(name), list):
                node[name] = [self._node(each, depth + 1) for each in found]
            elif name in node:
                node[name] = self._node(found, depth + 1)
        self._counts(node, "minItems", "maxItems")

    def _string(self, node: dict[str, Any]) -> None:
        self._counts(node, "minLength", "maxLength")
        if "pattern" in node:
            pattern = node["pattern"]
            self.left -= len(pattern) // 4 if isinstance(pattern, str) else 1
            readable = isinstance(pattern, str) and self.left > 0
            said = engine_pattern(pattern) if readable else None
            if said is None:
                del node["pattern"]
                self.unenforced[f"pattern {str(pattern)[:60]}"] = None
            else:
                node["pattern"] = said
                for name in ("minLength", "maxLength"):
                    if name in node:
                        self.unenforced[name] = None
        if not isinstance(node.get("format", ""), str):
            self._drop(node, "format")
        elif node.get("format") and node["format"] not in _FORMATS:
            self.unenforced[f"format {node['format'][:40]}"] = None

    def _counts(self, node: dict[str, Any], least: str, most: str) -> None:
        for name in (least, most):
            if name not in node:
                continue
            value = node[name]
            if isinstance(value, float) and value.is_integer() and abs(value) < _LARGEST:
                value = node[name] = int(value)
            if type(value) is not int or not 0 <= value <= _MOST_TIMES:
                del node[name]
                self.unenforced[name] = None
        if least in node and most in node and node[least] > node[most]:
            del node[least], node[most]
            self.unenforced[least] = None

    def _numbers(self, node: dict[str, Any]) -> None:
        """Bounds as whole numbers: the engine holds those of integers alone."""
        integer = "integer" in listed(node.get("type"))
        for name, other in (
            ("minimum", "exclusiveMinimum"),
            ("maximum", "exclusiveMaximum"),
        ):
            found = [self._bound(node, name), self._bound(node, other)]
            if not integer and any(each is not None for each in found):
                self.unenforced[name] = None
            if None not in found:  # the engine would see the first alone
                del node[other]
                self.unenforced[other] = None
        low, high = node.get("minimum"), node.get("maximum")
        if low is not None and high is not None and low > high:
            del node["minimum"], node["maximum"]
            self.unenforced["minimum"] = None

    def _bound(self, node: dict[str, Any], name: str) -> float | None:
        value = node.get(name)
        usable = isinstance(value, int | float) and not isinstance(value, bool)
        if value is None or (usable and math.isfinite(value) and abs(value) < _LARGEST):
            if name in node and value is None:
                del node[name]
            return value
        del node[name]
        self.unenforced[name] = None
        return None

    def _values(self, node: dict[str, Any]) -> None:
        if "enum" in node and (not isinstance(node["enum"], list) or not node["enum"]):
            self._drop(node, "enum")
        if "const" in node and isinstance(node.get("type"), list):
            del node["type"]  # else it would be said once for each


def _known(name: Any) -> str | None:
    """One of the engine's types, None for any."""
    if name is None:
        return "null"
    if not isinstance(name, str):
        return None
    name = name.lower()
    return name if name in _TYPES else _ALIASES.get(name)
