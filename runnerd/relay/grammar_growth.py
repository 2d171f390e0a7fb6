"""How many ways a grammar has open after some text, counted before an engine follows them.

An engine keeps every way in which the text so far can have come about.  `root ::= "x" root "y" |
"x" root "z"` begins in two ways only, and has twice as many after each character.  So a text is
followed here that leaves as many ways open as can be, a character after the other, until they are
many more than the grammar has alternatives, or until enough was looked at: then it is left to the
engine.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple, cast

from runnerd.relay.grammar_rules import Choice, Item, rules_of
from runnerd.relay.open_ways import OpenWays, Way

_MANY_WAYS = 256
_MOST_LOOKS = 4000  # some milliseconds
_MOST_COPIES = 64  # of what is repeated so often at least, or at most
_CANDIDATES = 16  # characters that are tried

_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}
_CHARACTER = re.compile(
    r"\\x([0-9a-fA-F]{2})|\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})|\\(.)|(.)", re.DOTALL
)


class _Terminal(NamedTuple):
    """Characters of which one comes: ranges, or all but these."""

    ranges: tuple[tuple[str, str], ...]
    negated: bool

    def takes(self, character: str) -> bool:
        return any(low <= character <= high for low, high in self.ranges) is not self.negated

    @property
    def sample(self) -> str:
        """One of them."""
        if not self.negated:
            return self.ranges[0][0] if self.ranges else ""
        return next((each for each in "xyz019 \n" if self.takes(each)), "")


_Symbol = _Terminal | str  # or a rule, by its name
_Sequence = tuple[_Symbol, ...]
_Expected = tuple[_Terminal, Way | None]


@lru_cache(maxsize=32)
def grows_too_far(text: str) -> bool:
    """Whether a grammar has more ways open after some text than any honest one."""
    rules = rules_of(text)
    if rules is None or "root" not in rules:
        return False
    return _is_too_much(_Written(rules).rules)


class _Written:
    """Rules with sequences of symbols alone: brackets and repetitions are rules of their own."""

    def __init__(self, rules: dict[str, Choice]) -> None:
        self.rules: dict[str, list[_Sequence]] = {}
        for name, choice in rules.items():
            self._put(name, choice)

    def _put(self, name: str, choice: Choice) -> None:
        self.rules[name] = []
        for way in choice.ways:
            symbols: list[_Symbol] = []
            for item in way:
                symbols += self._symbols(item)
            self.rules[name].append(tuple(symbols))

    def _new(self, *sequences: _Sequence) -> str:
        name = f" {len(self.rules)}"  # no rule of a grammar has a space
        self.rules[name] = list(sequences)
        return name

    def _symbols(self, item: Item) -> _Sequence:
        one: _Sequence
        if isinstance(item.what, Choice):
            name = self._new()
            self._put(name, item.what)
            one = (name,)
        elif item.what is not None:
            one = (item.what,)
        else:
            one = _terminals(item.text)
        if (item.least, item.most) == (1, 1):
            return one
        least = one * min(item.least, _MOST_COPIES)
        if item.most > item.least + _MOST_COPIES:  # as if without an end
            name = self._new(())
            self.rules[name].append((*one, name))
            return (*least, name)
        rest: _Sequence = ()
        for _ in range(item.most - item.least):
            rest = (self._new((*one, *rest), ()),)
        return (*least, *rest)


def _terminals(text: str) -> _Sequence:
    """The terminals of a literal, a class of characters, or any character."""
    if text.startswith('"'):
        return tuple(_Terminal(((each, each),), negated=False) for each in _characters(text[1:-1]))
    if not text.startswith("["):  # `.`, or a token by its name or number
        return (_Terminal((), negated=True),)
    negated = text.startswith("[^")
    inner = _characters(text[2 if negated else 1 : -1])
    ranges, at = [], 0
    while at < len(inner):
        low = high = inner[at]
        at += 1
        if inner[at : at + 1] == ["-"] and at + 1 < len(inner):
            high = inner[at + 1]
            at += 2
        ranges.append((low, high))
    return (_Terminal(tuple(ranges), negated),)


def _characters(text: str) -> list[str]:
    found = []
    for hex2, hex4, hex8, escaped, plain in _CHARACTER.findall(text):
        code = int(hex2 or hex4 or hex8 or "0", 16)
        if hex2 or hex4 or hex8:
            found.append(chr(code) if code < 0x110000 else "\ufffd")
        else:
            found.append(_ESCAPES.get(escaped, escaped) or plain)
    return found


def _is_too_much(rules: dict[str, list[_Sequence]]) -> bool:
    """Whether there are too many ways after some text."""
    most = max(_MANY_WAYS, 2 * sum(map(len, rules.values())))
    found: OpenWays[_Symbol] = OpenWays(
        rules, is_rule=lambda symbol: isinstance(symbol, str), most_looks=_MOST_LOOKS
    )
    ways = found.of("root")
    while ways and not found.exhausted:
        expected = cast("list[_Expected]", found.expected(ways))
        if len(expected) > most:
            return True
        ways = _followed(expected, found)
    return False


def _followed(expected: list[_Expected], ways: OpenWays[_Symbol]) -> list[Way | None]:
    """The ways behind the character that leaves most of them open."""
    samples = dict.fromkeys(terminal.sample for terminal, _ in expected)
    best: dict[int, Way | None] = {}
    for sample in list(samples)[:_CANDIDATES]:
        if sample:
            ways.looks += len(expected) // 8
            left = {id(way): way for terminal, way in expected if terminal.takes(sample)}
            best = max(best, left, key=len)
    return list(best.values())
