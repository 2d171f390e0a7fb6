"""Alternatives that begin alike and cannot be told apart, made one that allows all of them.

Two objects with the same properties, of which only the last ones differ, or not even these: no
order helps an engine there (`told_apart`), and the ways that it has to follow double with each
level.  So they become one object, each of whose properties is a choice of what it is in any of
them.  The same is done within, for each set of alternatives that comes about once, until nothing
begins alike: what an automaton's determinization is to its states.  What is generated then has the
parts of the alternatives, and may mix them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from runnerd.relay.request_rewrites.schema_references import found_by_engine, listed
from runnerd.relay.request_rewrites.told_apart import TooMany, few_values, values_listed

_Schema = dict[str, Any]

_MOST_SETS = 256  # of alternatives that are made one
_MOST_SCHEMAS = 20_000
_VALUES_OF_ONE = 16  # values that a schema lists take as long as a schema
_BYTES_OF_ONE = 512  # and so much of its text
_CHOICES = ("anyOf", "oneOf")
_DEFINITIONS = ("$defs", "definitions")
_SAYS_NOTHING = ("title", "description", "default", "examples", "deprecated", "readOnly")


class Merged(NamedTuple):
    """A schema in which nothing begins alike; whether it allows more than the one it is made of."""

    schema: _Schema
    loosened: bool


def merged_alternatives(schema: _Schema) -> Merged:
    """A schema that allows all that the given one does, as the engine takes it.

    Raises TooMany.
    """
    merging = _Merging(schema)
    made = merging.whole()
    return Merged(made, merging.loosened)


class _Merging:
    """The walk through one schema.  Sets of alternatives are known by what they say."""

    def __init__(self, root: _Schema) -> None:
        self._root = root
        self._names: dict[frozenset[bytes], str] = {}
        self._pending: list[tuple[str, list[_Schema]]] = []
        self._keys: dict[int, tuple[_Schema, bytes]] = {}
        self._left = _MOST_SCHEMAS
        self.loosened = False

    def whole(self) -> _Schema:
        made = self._alternatives(self._meant(self._root))
        defined: _Schema = {}
        while self._pending:
            name, found = self._pending.pop()
            defined[name] = self._alternatives(found)
        return {**made, **({"$defs": defined} if defined else {})}

    def _node(self, schema: Any) -> _Schema:
        """A schema within another one: itself where it is short, else by its name."""
        found = self._meant(schema)
        plain = isinstance(schema, dict) and not {"$ref", *_CHOICES} & schema.keys()
        if plain and len(found) == 1:
            return self._alternatives(found)
        key = frozenset(map(self._key, found))
        name = self._names.get(key)
        if name is None:
            if len(self._names) >= _MOST_SETS:
                raise TooMany
            name = self._names[key] = f"__m{len(self._names)}"
            self._pending.append((name, found))
        return {"$ref": f"#/$defs/{name}"}

    def _meant(self, schema: Any) -> list[_Schema]:
        """The alternatives that a schema is, through references and choices within choices."""
        found: dict[bytes, _Schema] = {}
        seen: set[str] = set()
        todo = [schema]
        while todo:
            node = todo.pop(0)
            self._count()
            if not isinstance(node, dict):
                node = {}
            if isinstance(ref := node.get("$ref"), str):
                if ref not in seen:
                    seen.add(ref)
                    todo.insert(0, found_by_engine(self._root, ref[1:]))
                continue
            name = next((name for name in _CHOICES if listed(node.get(name))), None)
            if name is not None:
                todo[:0] = listed(node[name])
            elif isinstance(kinds := node.get("type"), list) and not _lists_values(node):
                todo[:0] = [{**node, "type": kind} for kind in kinds]
            else:
                found.setdefault(self._key(node), node)
        return list(found.values())

    def _key(self, node: _Schema) -> bytes:
        """What a schema says, without what it is called."""
        known = self._keys.get(id(node))
        if known is None:
            said = {k: v for k, v in node.items() if k not in (*_SAYS_NOTHING, *_DEFINITIONS)}
            known = self._keys[id(node)] = node, msgspec.json.encode(said, order="sorted")
            self._count(len(known[1]) // _BYTES_OF_ONE)
        return known[1]

    def _count(self, schemas: int = 1) -> None:
        self._left -= schemas
        if self._left < 0:
            raise TooMany

    def _alternatives(self, found: list[_Schema]) -> _Schema:
        """One schema of alternatives, in which those that begin alike are one."""
        objects = [node for node in found if _is_object(node)]
        arrays = [node for node in found if _is_array(node)]
        made = [node for node in found if not _is_object(node) and not _is_array(node)]
        self._count(sum(map(_values, objects)) // _VALUES_OF_ONE)
        made += [self._object(group) for group in _alike(objects)]
        if arrays:
            made.append(self._array(arrays))
        made = [{k: v for k, v in node.items() if k not in _DEFINITIONS} for node in made]
        return made[0] if len(made) == 1 else {"anyOf": made}

    def _object(self, group: list[_Schema]) -> _Schema:
        self._count(sum(len(_properties(node)) for node in group))
        parts: dict[str, list[Any]] = {}
        for node in group:
            for name, value in _properties(node).items():
                parts.setdefault(name, []).append(value)
        self._any_names(group, parts)
        required = [set(map(str, listed(node.get("required")))) for node in group]
        in_all = set.intersection(*required)
        more = [node["additionalProperties"] for node in group if node.get("additionalProperties")]
        self._note(group, parts, required)
        made = dict(group[0])
        made["properties"] = {name: self._one_of(values) for name, values in parts.items()}
        made["required"] = [name for name in parts if name in in_all]
        if not made["required"]:
            del made["required"]
        if more:
            made["additionalProperties"] = True if True in more else self._one_of(more)
        return made

    def _any_names(self, group: list[_Schema], parts: dict[str, list[Any]]) -> None:
        """A property of one may be what another one allows under any name."""
        for node in group:
            if more := node.get("additionalProperties"):
                self._count(len(parts))
                for name in parts.keys() - _properties(node).keys():
                    parts[name].append({} if more is True else more)

    def _note(
        self, group: list[_Schema], parts: dict[str, list[Any]], required: list[set[str]]
    ) -> None:
        """Remember whether one object allows more than several: it does not where they differ in
        one property alone.
        """
        same = all(len(values) == len(group) for values in parts.values())
        same = same and all(each == required[0] for each in required)
        extra = {msgspec.json.encode(node.get("additionalProperties", False)) for node in group}
        differ = sum(len(set(map(self._set, values))) > 1 for values in parts.values())
        if len(group) > 1 and not (same and len(extra) == 1 and differ <= 1):
            self.loosened = True

    def _set(self, value: Any) -> frozenset[bytes]:
        return frozenset(map(self._key, self._meant(value)))

    def _array(self, group: list[_Schema]) -> _Schema:
        self._count()
        made = dict(group[0])
        items = [_items(node) for node in group]
        if len(group) == 1:
            for name in ("items", "prefixItems"):
                if isinstance(inner := made.get(name), list):
                    made[name] = [self._node(each) for each in inner]
                elif isinstance(inner, dict):
                    made[name] = self._node(inner)
            return made
        self.loosened = True
        for name in ("prefixItems", "minItems", "maxItems", "items"):
            made.pop(name, None)
        if all(items):
            made["items"] = self._one_of(itertools.chain(*items))
        least = [node.get("minItems", 0) for node in group if "prefixItems" not in node]
        if len(least) == len(group) and min(least):
            made["minItems"] = min(least)
        return made

    def _one_of(self, values: Iterable[Any]) -> _Schema:
        several = list(values)
        return self._node(several[0] if len(several) == 1 else {"anyOf": several})


def _lists_values(node: _Schema) -> bool:
    return "const" in node or "enum" in node


def _is_object(node: _Schema) -> bool:
    if _lists_values(node):
        return False
    return node.get("type", "object") == "object" and (
        "properties" in node or isinstance(node.get("additionalProperties"), dict)
    )


def _is_array(node: _Schema) -> bool:
    if _lists_values(node) or _is_object(node):
        return False
    return node.get("type", "array") == "array" and ("items" in node or "prefixItems" in node)


def _properties(node: _Schema) -> dict[str, Any]:
    found = node.get("properties")
    return found if isinstance(found, dict) else {}


def _values(node: _Schema) -> int:
    """How many properties an object has, and values that these list."""
    return sum(1 + values_listed(value) for value in _properties(node).values())


def _items(node: _Schema) -> list[Any]:
    found = node.get("prefixItems", node.get("items"))
    return found if isinstance(found, list) else [found]


def _alike(objects: list[_Schema]) -> list[list[_Schema]]:
    """Objects in groups: of two groups none begins as one of the other."""
    beginnings = [_beginnings(node) for node in objects]
    if len(objects) > 1 and any(each is None for each in beginnings):
        return [objects]
    by_name: dict[str, list[int]] = {}
    for index, names in enumerate(beginnings):
        for name in names or ():
            by_name.setdefault(name, []).append(index)
    groups = _Groups(len(objects))
    for name, found in by_name.items():
        values = [few_values(_properties(objects[index])[name]) for index in found]
        by_value: dict[bytes, int] = {}
        for index, few in zip(found, values, strict=True):
            if None in values:
                groups.join(found[0], index)
            for value in few or ():
                groups.join(by_value.setdefault(value, index), index)
    together: dict[int, list[_Schema]] = {}
    for index, node in enumerate(objects):
        together.setdefault(groups.of(index), []).append(node)
    return list(together.values())


class _Groups:
    """Numbers that belong together; at first each is alone."""

    def __init__(self, many: int) -> None:
        self._first = list(range(many))

    def of(self, number: int) -> int:
        """The number that a group is known by."""
        while self._first[number] != number:
            self._first[number] = self._first[self._first[number]]
            number = self._first[number]
        return number

    def join(self, one: int, other: int) -> None:
        """Make two groups one, which is known by the lower number."""
        low, high = sorted((self.of(one), self.of(other)))
        self._first[high] = low


def _beginnings(node: _Schema) -> set[str] | None:
    """The names with which an object can begin; None: with any."""
    properties = _properties(node)
    required = set(map(str, listed(node.get("required"))))
    first = next((name for name in properties if name in required), None)
    if first is not None:
        return {first}
    return None if node.get("additionalProperties") else set(properties)
