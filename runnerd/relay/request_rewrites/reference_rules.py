"""Definitions that an engine would take for each other, under names that it can tell apart.

It makes a rule of what a reference means, and calls the rule after the reference, with `-` for all
but letters and digits: `a_b` and `a-b` have one rule, that of whichever comes first.  What lies in
a schema has rules, too, called after where it is: the property `b` of `a` has that of `a_b`.  All
tools of a request share these rules: two tools may each have an `Item`, and mean different things.
A response would then follow the wrong schema, and nobody would be told.

So of two that would have one rule, one is put under a name of its own among the definitions.  That
name begins with a word that nothing else in these schemas begins with, so no rule is called alike.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from runnerd.relay.request_rewrites.schema_references import found_by_engine, listed

_Schema = dict[str, Any]

_DEFINITIONS = ("$defs", "definitions")
_NO_NAME = re.compile(r"[^a-zA-Z0-9-]+")
_SUFFIX = re.compile(r"(?:-(?:kv|rest|k|[0-9]+))?[0-9]*")  # of a rule's parts, and of its namesakes
_MOST_STEPS = 20_000  # in search of a rule's name; beyond, it counts as found
_MANY_PATHS = 64  # of one schema, to look at what each of them means; beyond, at all of it
_LONGEST_NAME = 40


def rule_name(name: str) -> str:
    """What the engine makes of a name in the name of a rule."""
    return _NO_NAME.sub("-", name)


class Referring(NamedTuple):
    """A schema as the engine takes it, its nodes with references, and where it will be put."""

    made: _Schema
    refs: list[_Schema]
    at: str = "#"


class _Place(NamedTuple):
    """What a reference leads to: a path in one of several schemas."""

    schema: int
    path: str


def tell_rules_apart(schemas: list[Referring]) -> None:
    """Put what references of schemas in one grammar mean under names that are not one rule.

    Changes the schemas in place, and their lists of references.
    """
    paths = [
        dict.fromkeys(node["$ref"][len(each.at) :] for node in each.refs if "$ref" in node)
        for each in schemas
    ]
    places = [
        _Place(number, path)
        for number, found in enumerate(paths)
        for path in found
        if path and found_by_engine(schemas[number].made, path) is not None
    ]
    clashing = _Clashes(schemas, places).found()
    if clashing:
        names = _free_names(schemas, places)
        for number, each in enumerate(schemas):
            moved = [path for path in paths[number] if _Place(number, path) in clashing]
            if moved:
                _move(each, moved, names)


class _Clashes:
    """The search for places whose rule would be something else's."""

    def __init__(self, schemas: list[Referring], places: list[_Place]) -> None:
        self._schemas = schemas
        self._places = places
        self._steps = 0
        self._parts: dict[int, dict[str, list[Any]]] = {}
        self._texts: dict[_Place, bytes] = {}
        self._meanings: dict[_Place, frozenset[tuple[str, bytes]]] = {}
        self._paths: list[list[str]] = [[] for _ in schemas]
        for place in places:
            self._paths[place.schema].append(place.path)

    def found(self) -> set[_Place]:
        """Those that cannot keep their names; the others can, once these have new ones."""
        by_rule: dict[str, list[_Place]] = {}
        for place in self._places:
            by_rule.setdefault(self._rule(place), []).append(place)
        clashing: set[_Place] = set()
        around: list[str] = []  # rules with which this one begins
        for rule in sorted(by_rule):
            while around and not rule.startswith(f"{around[-1]}-"):
                around.pop()
            found = by_rule[rule]
            if self._is_within_a_schema(rule) or any(
                self._is_within(each, rule, outer, by_rule[outer])
                for outer in around
                for each in found
            ):
                clashing.update(found)
            else:
                clashing.update(each for each in found[1:] if not self._is_same(found[0], each))
            around.append(rule)
        return clashing

    def _rule(self, place: _Place) -> str:
        return "ref" + rule_name(self._schemas[place.schema].at[1:] + place.path)

    def _target(self, place: _Place) -> _Schema | None:
        return found_by_engine(self._schemas[place.schema].made, place.path)

    def _is_within_a_schema(self, rule: str) -> bool:
        """Whether something in a schema itself, on no way through a reference, has this rule."""
        for each in self._schemas:
            if each.at == "#":
                if self._spells(each.made, rule):
                    return True
            else:
                begin = "ref" + rule_name(each.at[1:]) + "-"
                if rule.startswith(begin) and self._spells(each.made, rule[len(begin) :]):
                    return True
        return False

    def _is_within(self, place: _Place, rule: str, outer: str, others: list[_Place]) -> bool:
        """Whether something in what has the rule `outer` may have that of a place."""
        for other in others:
            if other.schema == place.schema and _is_definition(place.path):
                return True  # it is easily given another name
            if self._spells(self._target(other), rule[len(outer) + 1 :]):
                return True
        return False

    def _spells(self, start: Any, rest: str) -> bool:
        """Whether the engine calls a rule in a schema after the schema's own rule and this."""
        todo = [(start, rest)]
        while todo:
            node, rest = todo.pop()
            parts = self._named_parts(node)
            if not parts:
                continue
            at = -1
            while at < len(rest):
                at = rest.find("-", at + 1)
                at = len(rest) if at < 0 else at
                self._steps += 1
                if self._steps > _MOST_STEPS:
                    return True
                if (found := parts.get(rest[:at])) is not None:
                    if _SUFFIX.fullmatch(rest, at):
                        return True
                    todo += [(each, rest[at + 1 :]) for each in found if isinstance(each, dict)]
            if any(rest[:n] in parts for n in _without_digits(rest)):
                return True
        return False

    def _named_parts(self, node: Any) -> dict[str, list[Any]]:
        """What lies in a schema, by what the engine calls it there."""
        if not isinstance(node, dict) or "$ref" in node:
            return {}
        known = self._parts.get(id(node))
        if known is None:
            known = self._parts[id(node)] = {}
            for name, part in _parts(node):
                known.setdefault(rule_name(name), []).append(part)
        return known

    def _is_same(self, one: _Place, other: _Place) -> bool:
        """Whether two places of different schemas mean the same."""
        if one.schema == other.schema or one.path != other.path:
            return False
        return self._meaning(one) == self._meaning(other)

    def _meaning(self, place: _Place) -> frozenset[tuple[str, bytes]]:
        """What a place says, and whatever that refers to."""
        known = self._meanings.get(place)
        if known is None:
            known = self._meanings[place] = self._found_meaning(place)
        return known

    def _found_meaning(self, place: _Place) -> frozenset[tuple[str, bytes]]:
        own, at = self._paths[place.schema], self._schemas[place.schema].at
        reached = dict.fromkeys([place.path])
        if len(own) > _MANY_PATHS:
            reached, todo = dict.fromkeys(own), []
        else:
            todo = [place.path]
        while todo:
            target = self._target(place._replace(path=todo.pop()))
            new = [ref[len(at) :] for ref in _references(target)]
            todo += [path for path in new if path not in reached]
            reached |= dict.fromkeys(new)
        return frozenset((path, self._said(place._replace(path=path))) for path in reached)

    def _said(self, place: _Place) -> bytes:
        said = self._texts.get(place)
        if said is None:
            text = msgspec.json.encode(self._target(place))
            said = self._texts[place] = hashlib.sha256(text).digest()
        return said


def _without_digits(name: str) -> Iterator[int]:
    """The lengths of a name without some of the digits at its end."""
    end = len(name)
    while end > 1 and name[end - 1].isdigit() and len(name) - end < 4:
        end -= 1
        yield end


def _parts(node: _Schema) -> Iterator[tuple[str, Any]]:
    """Yield what lies in a schema, and how a rule of it is called behind that of the schema."""
    properties = node.get("properties")
    yield from properties.items() if isinstance(properties, dict) else ()
    if "additionalProperties" in node:
        yield "additional", {}
        yield "additional-value", node["additionalProperties"]
        yield "*", {}
    for name in ("anyOf", "oneOf"):
        for number, each in enumerate(listed(node.get(name))):
            yield str(number), each
            yield f"alternative-{number}", each
    for number, kind in enumerate(listed(node.get("type")) if "type" in node else ()):
        alone = {name: value for name, value in node.items() if name != "type"}
        if isinstance(node["type"], list):
            yield str(number), {**alone, "type": kind}
            yield f"alternative-{number}", {**alone, "type": kind}
    for name in ("items", "prefixItems"):
        if isinstance(items := node.get(name), list):
            yield from ((f"tuple-{number}", each) for number, each in enumerate(items))
        elif name in node:
            yield "item", items
    if "pattern" in node:
        yield "0", {}


def _references(node: Any) -> Iterator[str]:
    todo = [node]
    while todo:
        each = todo.pop()
        if isinstance(each, dict):
            if isinstance(ref := each.get("$ref"), str):
                yield ref
            else:
                todo += each.values()
        elif isinstance(each, list):
            todo += each


def _free_names(schemas: list[Referring], places: Iterable[_Place]) -> Iterator[str]:
    """Words that begin no part of a name in any of the schemas, and nothing else here."""
    taken = {word for name in _names(schemas, places) for word in _OURS.findall(name)}
    word = next(each for n in itertools.count(1) if (each := "v" * n) not in taken)
    return (f"{word}{number}" for number in itertools.count())


_OURS = re.compile(r"(?<![a-zA-Z0-9])(v+)(?=[0-9]+(?![a-zA-Z0-9]))")


def _names(schemas: list[Referring], places: Iterable[_Place]) -> Iterator[str]:
    yield from (place.path for place in places)
    todo: list[Any] = [each.made for each in schemas]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            yield from node
            todo += node.values()
        elif isinstance(node, list):
            todo += node


def _move(schema: Referring, moved: list[str], names: Iterator[str]) -> None:
    """Put what lies at some paths under other names."""
    made, refs, at = schema
    new = {path: f"{next(names)}{_plain(path)}" for path in moved}
    defined: dict[str, Any] = {}
    for path in sorted(new, key=len, reverse=True):  # what lies deeper first
        outer, _, name = path.rpartition("/")
        holder = _holder(made, outer)
        key: Any = int(name) if isinstance(holder, list) else name
        if not _is_definition(path):
            defined[new[path]] = holder[key]
            holder[key] = {"$ref": f"{at}/$defs/{new[path]}"}
            refs.append(holder[key])
    for name in _DEFINITIONS:
        if isinstance(kept := made.get(name), dict):
            made[name] = {new.get(f"/{name}/{key}", key): value for key, value in kept.items()}
    if defined:
        made["$defs"] = {**made.get("$defs", {}), **defined}
    for node in refs:
        path = node.get("$ref", "")[len(at) :]
        for through in _on_the_way(path):
            if (own := new.get(through)) is not None:
                holder_name = through.split("/")[1] if _is_definition(through) else "$defs"
                node["$ref"] = f"{at}/{holder_name}/{own}{path[len(through) :]}"
                break


def _on_the_way(path: str) -> Iterator[str]:
    """A path, and those that it leads through, the longest first."""
    while path:
        yield path
        path = path.rpartition("/")[0]


def _holder(made: Any, path: str) -> Any:
    for name in path.split("/")[1:]:
        made = made[int(name)] if isinstance(made, list) else made[name]
    return made


def _is_definition(path: str) -> bool:
    _, *names = path.split("/")
    return len(names) == 2 and names[0] in _DEFINITIONS


def _plain(path: str) -> str:
    """The end of a path as what a reader of the schema knows it by."""
    return "-" + rule_name(path.rpartition("/")[2])[:_LONGEST_NAME].strip("-")
