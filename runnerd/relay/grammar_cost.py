"""How far a grammar or a JSON schema unfolds, counted before an engine unfolds it.

An engine follows every way in which a grammar can begin, at every character: rules that name each
other twice make twice as many of them with each rule, and a kilobyte keeps it busy for minutes.
Counted are the beginnings of each rule, with everything that can be left out before it, and the
elements that repetitions are written out to.  What cannot be read is left to the engine, which
refuses it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from runnerd.errors import ClientError

_MOST_BEGINNINGS = 2**13
_MOST_ELEMENTS = 2**16
_DEEPEST = 200  # rules within rules: the engine recurses, too
_ENDLESS = 10**6

_TOKEN = re.compile(
    r"""\s+ | \#[^\n]*
    | (?P<rule>[A-Za-z0-9_-]+)(?=\s*::=) | (?P<is>::=) | (?P<name>[A-Za-z0-9_-]+)
    | (?P<text>"(?:\\.|[^"\\])*" | \[(?:\\.|[^\]\\])*\] | \.)
    | (?P<sign>[()|*+?]) | \{(?P<least>\d*)(?P<comma>,?)(?P<most>\d*)\}""",
    re.VERBOSE | re.DOTALL,
)


def check_grammar(text: str) -> None:
    """Refuse a grammar that unfolds too far.  Raises errors.ClientError."""
    rules = _rules(text)
    if rules is not None:
        _Unfolding(rules, "grammar").check()


def check_schema(name: str, schema: Any) -> None:
    """Refuse a JSON schema, wherever it is in a member, whose choices unfold too far.

    Raises errors.ClientError.
    """
    rules: dict[str, _Choice] = {}
    todo = [("#", schema)]
    while todo:
        path, value = todo.pop()
        if isinstance(value, dict):
            rules[path] = _choices_of(path, value)
            todo += ((f"{path}/{key}", inner) for key, inner in value.items())
        elif isinstance(value, list):
            todo += ((f"{path}/{at}", inner) for at, inner in enumerate(value))
    # References are from the schema's own root, which may lie deeper in the member.
    by_end = {path.rpartition("/")[2]: path for path in rules if "/$defs/" in path}
    by_end |= {path.rpartition("/")[2]: path for path in rules if "/definitions/" in path}
    for choice in rules.values():
        for way in choice.ways:
            for item in way:
                if isinstance(item.what, str) and item.what not in rules:
                    item.what = by_end.get(item.what.rpartition("/")[2], item.what)
    _Unfolding(rules, name).check()


def _choices_of(path: str, value: dict[str, Any]) -> _Choice:
    ways: list[list[_Item]] = []
    if isinstance(ref := value.get("$ref"), str):
        ways.append([_Item(ref)])
    for key in ("anyOf", "oneOf"):
        if isinstance(entries := value.get(key), list):
            ways += ([_Item(f"{path}/{key}/{at}")] for at in range(len(entries)))
    return _Choice(ways or [[_Item(None)]])


@dataclass(slots=True)
class _Item:
    """A text (None), a rule by its name, or a choice in brackets; how often it may come."""

    what: str | _Choice | None
    least: int = 1
    most: int = 1


@dataclass(slots=True)
class _Choice:
    ways: list[list[_Item]] = field(default_factory=lambda: [[]])


def _rules(text: str) -> dict[str, _Choice] | None:
    """The rules of a grammar by name, None where it is none."""
    rules: dict[str, _Choice] = {}
    open_: list[_Choice] = []
    for token in _tokens(text):
        if token is None:
            return None
        if token.lastgroup == "rule":
            open_ = [rules.setdefault(token.group(), _Choice())]
        elif not open_ or not _took(open_, token):
            return None
    return rules


def _took(open_: list[_Choice], token: re.Match[str]) -> bool:
    """Put a token into the innermost open choice; False where it cannot stand there."""
    kind, said = token.lastgroup, token.group()
    way = open_[-1].ways[-1]
    if said == "(":
        open_.append(_Choice())
        way.append(_Item(open_[-1]))
    elif said == ")":
        open_.pop()
    elif said == "|":
        open_[-1].ways.append([])
    elif kind in ("name", "text"):
        way.append(_Item(said if kind == "name" else None))
    elif kind != "is":
        if not way:
            return False
        _repeat(way[-1], token)
    return True


def _tokens(text: str) -> Iterator[re.Match[str] | None]:
    at = 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            yield None
            return
        at = token.end()
        if token.lastgroup is not None:
            yield token


def _repeat(item: _Item, token: re.Match[str]) -> None:
    sign = token["sign"]
    if sign is not None:
        item.least = 0 if sign in "*?" else item.least
        item.most = item.most if sign == "?" else _ENDLESS
        return
    least = int((token["least"] or "0")[:7])
    most = int(token["most"][:7]) if token["most"] else _ENDLESS if token["comma"] else least
    item.least, item.most = least * min(item.least, 1), most


class _Unfolding:
    """Counts what the rules of a member, by its name, unfold to."""

    def __init__(self, rules: dict[str, _Choice], name: str) -> None:
        self._rules = rules
        self._name = name
        self._known: dict[str, tuple[int, bool]] = {}

    def check(self) -> None:
        """Raise errors.ClientError where that is too much."""
        for name, choice in self._rules.items():
            self._begin(name, 0)
            self._elements(choice)

    def _begin(self, name: str, depth: int) -> tuple[int, bool]:
        """In how many ways a rule can begin, and whether it can be nothing."""
        known = self._known.get(name)
        if known is None:
            self._known[name] = (0, False)  # within itself; the engine refuses that at the left
            choice = self._rules.get(name)
            known = (1, False) if choice is None else self._choice(choice, depth + 1)
            self._known[name] = known
        return known

    def _choice(self, choice: _Choice, depth: int) -> tuple[int, bool]:
        if depth > _DEEPEST:
            raise self._refusal(f"its rules are nested deeper than {_DEEPEST} levels")
        count, nothing = 0, False
        for way in choice.ways:
            for item in way:
                ways, empty = self._item(item, depth)
                count += ways
                if not empty:
                    break
            else:
                nothing = True
        if count > _MOST_BEGINNINGS:
            raise self._refusal(f"it can begin in more than {_MOST_BEGINNINGS} ways")
        return count, nothing

    def _item(self, item: _Item, depth: int) -> tuple[int, bool]:
        if item.what is None:
            ways, empty = 1, False
        elif isinstance(item.what, str):
            ways, empty = self._begin(item.what, depth)
        else:
            ways, empty = self._choice(item.what, depth + 1)
        if item.least == 0 or empty:  # each of its repetitions can be the first
            ways *= max(1, min(item.most, _MOST_ELEMENTS)) if item.most < _ENDLESS else 1
        return ways, empty or item.least == 0

    def _elements(self, choice: _Choice) -> int:
        """How many elements a rule is written out to."""
        count = 0
        for way in choice.ways:
            for item in way:
                size = self._elements(item.what) if isinstance(item.what, _Choice) else 1
                count += size * max(1, item.most if item.most < _ENDLESS else item.least)
        if count > _MOST_ELEMENTS:
            raise self._refusal(f"its repetitions make more than {_MOST_ELEMENTS} elements")
        return count

    def _refusal(self, why: str) -> ClientError:
        return ClientError(f"{self._name} unfolds too far: {why}", param=self._name)
