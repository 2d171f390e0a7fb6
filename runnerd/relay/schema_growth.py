"""How many ways a JSON schema has open after some text, counted before an engine follows them.

An engine makes a grammar of a schema, and keeps every way in which the text so far can have come
about.  Alternatives that begin alike and lie within each other double them with each level: `anyOf`
of two objects whose first property is again such a choice keeps an engine busy for minutes at a
depth of twelve.  What refers twice to the next (objects, tuples), long repetitions (`minItems`,
`maxLength`) and recursion cost an engine what they are long, and are nothing to look for.

So a schema is put into rules as the engine does it, but of whole words of JSON, such as `{"name":`
or a string, since within words nothing grows; and a text is followed that leaves as many ways open
as can be, as `grammar_growth` does it (`open_ways`).  Words that may be the same and need not (a
string and one after a pattern) count as different: what is missed is left to the engine.

Values that are listed together everywhere are one word: a thousand of them lead on in one way, and
would use up the looks that there are for what lies behind them.
"""

from __future__ import annotations

import itertools
from typing import Any

import msgspec

from runnerd.relay.open_ways import OpenWays, Way

_MANY_WAYS = 512  # an engine follows as many in a moment, and eight times as many in minutes
_MOST_LOOKS = 2**13  # some milliseconds
_PATIENCE = 64  # words, and one for each that the schema has
_DEEPEST = 128
_CHOICES = ("anyOf", "oneOf")

_Schema = dict[str, Any]
_Sequence = tuple[str, ...]  # of words, and of rules by their names


def grows_too_far(schema: _Schema) -> bool:
    """Whether a schema that the engine knows has more ways open than any honest one.

    Raises aside.TakesLonger.
    """
    written = _Written(schema)
    return written.has_choices and _is_too_much(written.rules)


_RULE = "\0"  # begins the names of rules
_ROOT = _RULE + "root"


def _word(text: str) -> _Sequence:
    return (text,)


class _Written:
    """The rules of a schema."""

    def __init__(self, root: _Schema) -> None:
        self.rules: dict[str, list[_Sequence]] = {}
        self.has_choices = False
        self._root = root
        self._numbers = itertools.count()
        self._referred: list[tuple[str, _Schema]] = []
        self._words = _words_of_values(root)
        self.rules[_ROOT] = [self._node(root, 0)]
        while self._referred:
            name, schema = self._referred.pop()
            self.rules[name] = [self._node(schema, 0)]

    def _rule(self, *ways: _Sequence) -> str:
        name = f"{_RULE}{next(self._numbers)}"
        self.rules[name] = list(ways)
        return name

    def _node(self, schema: Any, depth: int) -> _Sequence:
        if not isinstance(schema, dict) or depth > _DEEPEST:
            return _word("any")
        if isinstance(ref := schema.get("$ref"), str):
            return (self._reference(ref),)
        if (found := _choices(schema)) is not None:
            return self._choice(found, depth)
        if "const" in schema:
            return self._literal(schema["const"])
        if isinstance(values := schema.get("enum"), list):
            return (self._rule(*dict.fromkeys(map(self._literal, values))),)
        return self._of_type(schema, schema.get("type"), depth)

    def _of_type(self, schema: _Schema, kind: object, depth: int) -> _Sequence:
        if kind in (None, "object") and "properties" in schema:
            return self._object(schema, depth)
        if kind == "object" and isinstance(more := schema.get("additionalProperties"), dict):
            return self._object({"properties": {}, "additionalProperties": more}, depth)
        if kind in (None, "array") and ("items" in schema or "prefixItems" in schema):
            return self._array(schema, depth)
        return _leaf(kind, schema)

    def _reference(self, ref: str) -> str:
        name = f"{_RULE}{ref}"
        if name not in self.rules:
            self.rules[name] = []
            target: Any = self._root
            for part in ref.removeprefix("#").split("/")[1:]:
                target = target.get(part) if isinstance(target, dict) else None
            self._referred.append((name, target))
        return name

    def _choice(self, found: list[Any], depth: int) -> _Sequence:
        self.has_choices = self.has_choices or len(found) > 1
        ways = [self._node(each, depth + 1) for each in found if not _is_value(each)]
        values = [self._literal(each["const"]) for each in found if _is_value(each)]
        return (self._rule(*ways, *dict.fromkeys(values)),)

    def _literal(self, value: object) -> _Sequence:
        return _word(self._words[_text(value)])

    def _object(self, schema: _Schema, depth: int) -> _Sequence:
        """Its required members in their order, then each of the others or not."""
        found = schema["properties"] if isinstance(schema["properties"], dict) else {}
        names = schema.get("required")
        wanted = (
            {name for name in names if isinstance(name, str)} if isinstance(names, list) else ()
        )
        required = [name for name in found if name in wanted]
        values = {name: self._node(value, depth + 1) for name, value in found.items()}
        rest: _Sequence = _word("}")
        more = schema.get("additionalProperties", False)
        if more is not False:
            rule = self._rule(_word("}"))
            self.rules[rule].append((*_word(", other"), *self._node(more, depth + 1), rule))
            rest = (rule,)
        first = [(*_word("{ other"), *self._node(more, depth + 1), *rest)] if more else []
        for name in reversed([name for name in found if name not in wanted]):
            first.append((*_word(f"{{ {name}"), *values[name], *rest))
            rest = (self._rule((*_word(f", {name}"), *values[name], *rest), rest),)
        if not required:
            return (self._rule(_word("{}"), *reversed(first)),)
        written: list[str] = []
        for name in required:
            written += (f", {name}" if written else f"{{ {name}", *values[name])
        return (*written, *rest)

    def _array(self, schema: _Schema, depth: int) -> _Sequence:
        """A tuple, or items as often as one likes: how often decides nothing here."""
        items = schema.get("prefixItems", schema.get("items"))
        if isinstance(items, list):
            written = [(*self._node(each, depth + 1), *_word(",")) for each in items]
            return (*_word("["), *itertools.chain(*written), *_word("]"))
        if schema.get("maxItems") == 0:
            return _word("[]")
        item = self._node(items, depth + 1)
        more = self._rule(_word("]"))
        self.rules[more].append((*_word(","), *item, more))
        some: _Sequence = (*_word("["), *item, more)
        return some if schema.get("minItems") else (self._rule(_word("[]"), some),)


def _choices(schema: _Schema) -> list[Any] | None:
    """The alternatives of a schema, of which several types are one kind."""
    for name in _CHOICES:
        if isinstance(found := schema.get(name), list) and found:
            return found
    kinds = schema.get("type")
    return [{**schema, "type": kind} for kind in kinds] if isinstance(kinds, list) else None


def _words_of_values(root: _Schema) -> dict[bytes, str]:
    """A word for each value that a schema lists, by its text.  Values have one word where one of
    them is listed, each time, with the others.
    """
    lists: dict[bytes, set[int]] = {}
    numbers = itertools.count()
    todo: list[Any] = [root]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            todo += node.values()
            found = node["enum"] if isinstance(node.get("enum"), list) else []
            if "const" in node:
                _list(lists, [node["const"]], next(numbers))
        elif isinstance(node, list):
            todo += [each for each in node if not _is_value(each)]
            found = [each["const"] for each in node if _is_value(each)]
        else:
            continue
        _list(lists, found, next(numbers))
    words: dict[frozenset[int], str] = {}
    return {
        text: words.setdefault(frozenset(where), f"= {len(words)}") for text, where in lists.items()
    }


def _list(lists: dict[bytes, set[int]], values: list[Any], number: int) -> None:
    for value in values:
        lists.setdefault(_text(value), set()).add(number)


def _text(value: object) -> bytes:
    return msgspec.json.encode(value)


def _is_value(schema: Any) -> bool:
    """Whether an alternative is one value."""
    return (
        isinstance(schema, dict)
        and "const" in schema
        and "$ref" not in schema
        and not ({*_CHOICES} & schema.keys() or isinstance(schema.get("type"), list))
    )


def _leaf(kind: object, schema: _Schema) -> _Sequence:
    """A string, a number, or any value: the same word where one text is surely both."""
    if kind == "string" and not ({"pattern", "format", "minLength"} & schema.keys()):
        return _word("string")
    limits = {name: schema[name] for name in _LIMITS if name in schema}
    return _word(f"{kind} {msgspec.json.encode(limits).decode()}")


_LIMITS = (
    "pattern", "format", "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum",
    "exclusiveMaximum",
)  # fmt: skip


def _is_too_much(rules: dict[str, list[_Sequence]]) -> bool:
    """Whether there are too many ways behind some text."""
    patience = _PATIENCE + sum(len(way) for ways in rules.values() for way in ways)
    most = still = 0
    found: OpenWays[str] = OpenWays(
        rules.__getitem__,
        is_rule=lambda symbol: symbol.startswith(_RULE),
        most_looks=_MOST_LOOKS,
    )
    ways = found.of(_ROOT)
    while ways and not found.exhausted and still < patience:
        by_word: dict[str, dict[int, Way | None]] = {}
        for word, way in found.expected(ways):
            by_word.setdefault(word, {})[id(way)] = way
        ways = list(max(by_word.values(), key=len, default={}).values())
        if len(ways) > _MANY_WAYS:
            return True
        still = 0 if len(ways) > most else still + 1
        most = max(most, len(ways))
    return False
