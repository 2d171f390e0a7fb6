"""How far a grammar or a JSON schema unfolds, counted before an engine unfolds it.

An engine follows every way in which a grammar can begin, at every character: rules that name each
other twice make twice as many of them with each rule, and a kilobyte keeps it busy for minutes.
Counted are the beginnings of each rule, with everything that can be left out before it, and the
elements that repetitions are written out to.  How many ways are open later on is followed by
`grammar_growth`.  What cannot be read is left to the engine, which
refuses it.
"""

from __future__ import annotations

from typing import Any

from runnerd.errors import ClientError
from runnerd.relay.grammar_growth import grows_too_far
from runnerd.relay.grammar_rules import ENDLESS, Choice, Item, rules_of

_MOST_BEGINNINGS = 2**13
_MOST_ELEMENTS = 2**16
_DEFINITIONS = ("$defs", "definitions")
_DEEPEST = 200  # rules within rules: the engine recurses, too


def check_grammar(text: str) -> None:
    """Refuse a grammar that unfolds too far.  Raises errors.ClientError."""
    rules = rules_of(text)
    if rules is None:
        return
    _Unfolding(rules, "grammar").check()
    if grows_too_far(text):
        raise ClientError(
            "grammar unfolds too far: the ways in which it can go on grow with each character",
            param="grammar",
        )


def check_schema(name: str, schema: Any) -> None:
    """Refuse a JSON schema, wherever it is in a member, whose choices unfold too far.

    Raises errors.ClientError.
    """
    rules: dict[str, Choice] = {}
    # References are from the schema's own root, which may lie anywhere in the member.
    defined: dict[str, str] = {}
    todo: list[tuple[Any, bool]] = [(schema, False)]
    while todo:
        value, within = todo.pop()
        if isinstance(value, dict):
            rules[_name(value)] = _choices_of(value)
            for key, inner in value.items():
                if within and isinstance(inner, dict):
                    defined[f"#{key}"] = _name(inner)
                todo.append((inner, within or key in _DEFINITIONS))
        elif isinstance(value, list):
            todo += ((inner, within) for inner in value)
    for choice in rules.values():
        for [item] in choice.ways:
            if isinstance(item.what, str):
                item.what = defined.get(item.what, item.what)
    _Unfolding(rules, name).check()


def _name(value: dict[str, Any]) -> str:
    """What the rule of a schema is called, which lives as long as its document."""
    return str(id(value))


def _choices_of(value: dict[str, Any]) -> Choice:
    ways: list[list[Item]] = []
    if isinstance(ref := value.get("$ref"), str):
        ways.append([Item(f"#{ref.rpartition('/')[2]}")])
    for key in ("anyOf", "oneOf"):
        if isinstance(entries := value.get(key), list):
            ways += ([Item(_name(each))] for each in entries if isinstance(each, dict))
    return Choice(ways or [[Item(None)]])


class _Unfolding:
    """Counts what the rules of a member, by its name, unfold to."""

    def __init__(self, rules: dict[str, Choice], name: str) -> None:
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

    def _choice(self, choice: Choice, depth: int) -> tuple[int, bool]:
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

    def _item(self, item: Item, depth: int) -> tuple[int, bool]:
        if item.what is None:
            ways, empty = 1, False
        elif isinstance(item.what, str):
            ways, empty = self._begin(item.what, depth)
        else:
            ways, empty = self._choice(item.what, depth + 1)
        if item.least == 0 or empty:  # each of its repetitions can be the first
            ways *= max(1, min(item.most, _MOST_ELEMENTS)) if item.most < ENDLESS else 1
        return ways, empty or item.least == 0

    def _elements(self, choice: Choice) -> int:
        """How many elements a rule is written out to."""
        count = 0
        for way in choice.ways:
            for item in way:
                size = self._elements(item.what) if isinstance(item.what, Choice) else 1
                count += size * max(1, item.most if item.most < ENDLESS else item.least)
        if count > _MOST_ELEMENTS:
            raise self._refusal(f"its repetitions make more than {_MOST_ELEMENTS} elements")
        return count

    def _refusal(self, why: str) -> ClientError:
        return ClientError(f"{self._name} unfolds too far: {why}", param=self._name)
