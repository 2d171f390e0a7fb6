"""How many ways a grammar has open after some text, counted before an engine follows them.

An engine keeps every way in which the text so far can have come about.  `root ::= "x" root "y" |
"x" root "z"` begins in two ways only, and has twice as many after each character.  So a text is
followed here that leaves as many ways open as can be, a character after the other, until they are
many more than the grammar has alternatives, or until enough was looked at: then it is left to the
engine.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from itertools import chain
from typing import NamedTuple, cast

from runnerd.relay.grammar_rules import Choice, Item, rules_of
from runnerd.relay.open_ways import OpenWays, Way

_MANY_WAYS = 256
_MOST_LOOKS = 4000  # some milliseconds
_MOST_COPIES = 64  # of what is repeated so often at least, or at most
_CANDIDATES = 16  # characters that are tried
_PIECE = 64  # characters of a literal that are written at once

_LAST = chr(0x10FFFF)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}
_CHARACTER = re.compile(
    r"\\x([0-9a-fA-F]{2})|\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})|\\(.)|(.)", re.DOTALL
)

_Range = tuple[str, str]  # from a character to another one


class _Terminal(NamedTuple):
    """Characters of which one comes: ranges in order that do not overlap, or all but these."""

    ranges: tuple[_Range, ...]
    negated: bool

    def takes(self, character: str) -> bool:
        at = bisect_right(self.ranges, (character, _LAST)) - 1
        return (at >= 0 and character <= self.ranges[at][1]) is not self.negated

    @property
    def sample(self) -> str:
        """One of them."""
        if not self.negated:
            return self.ranges[0][0] if self.ranges else ""
        return next((each for each in "xyz019 \n" if self.takes(each)), "")


class _Inner:
    """What is a rule of its own without having a name: a choice in brackets, the rest of a
    repetition or of a long literal.
    """

    def __init__(self, written: Callable[[], list[_Sequence]]) -> None:
        self.written = written


_Symbol = _Terminal | str | _Inner  # or a rule, by its name
_Sequence = tuple[_Symbol, ...]
_Expected = tuple[_Terminal, Way | None]


@lru_cache(maxsize=32)
def grows_too_far(text: str) -> bool:
    """Whether a grammar has more ways open after some text than any honest one.

    Raises aside.TakesLonger.
    """
    rules = rules_of(text)
    if rules is None or "root" not in rules:
        return False
    return _is_too_much(_Written(rules))


class _Written(dict[_Symbol, list[_Sequence]]):
    """Rules with sequences of symbols alone; each is written when somebody comes to it."""

    def __init__(self, rules: dict[str, Choice]) -> None:
        super().__init__()
        self._rules = rules
        self.alternatives = sum(map(_alternatives, rules.values()))

    def __missing__(self, symbol: _Symbol) -> list[_Sequence]:
        if isinstance(symbol, _Inner):
            ways = symbol.written()
        else:
            choice = self._rules.get(cast("str", symbol))
            ways = [] if choice is None else _ways(choice)
        self[symbol] = ways
        return ways


def _alternatives(choice: Choice) -> int:
    """How many alternatives a rule has, with those of what is in it."""
    count = len(choice.ways)
    for way in choice.ways:
        for item in way:
            if isinstance(item.what, Choice):
                count += _alternatives(item.what)
            count += 2 * min(item.most - item.least, _MOST_COPIES)
    return count


def _ways(choice: Choice) -> list[_Sequence]:
    return [tuple(chain.from_iterable(map(_symbols, way))) for way in choice.ways]


def _symbols(item: Item) -> _Sequence:
    one: _Sequence
    if isinstance(item.what, Choice):
        one = (_Inner(partial(_ways, item.what)),)
    elif item.what is not None:
        one = (item.what,)
    else:
        one = _terminals(item.text)
    if (item.least, item.most) == (1, 1):
        return one
    if len(one) > 1:
        one = (_Inner(lambda whole=one: [whole]),)  # type: ignore[misc]
    least = one * min(item.least, _MOST_COPIES)
    rest = item.most - item.least
    if rest > _MOST_COPIES:  # as if without an end
        more = _Inner(lambda: [(), (*one, more)])
        return (*least, more)
    return (*least, *_at_most(one, rest))


def _at_most(one: _Sequence, times: int) -> _Sequence:
    """Something so many times, or less often."""
    if times <= 0:
        return ()
    return (_Inner(lambda: [(*one, *_at_most(one, times - 1)), ()]),)


def _terminals(text: str) -> _Sequence:
    """The terminals of a literal, a class of characters, or any character."""
    if text.startswith('"'):
        return _literal(text, 1)
    if not text.startswith("["):  # `.`, or a token by its name or number
        return (_Terminal((), negated=True),)
    negated = text.startswith("[^")
    inner = [character for character, _ in _characters(text, 2 if negated else 1)]
    ranges, at = [], 0
    while at < len(inner):
        low = high = inner[at]
        at += 1
        if inner[at : at + 1] == ["-"] and at + 1 < len(inner):
            high = inner[at + 1]
            at += 2
        if low <= high:
            ranges.append((low, high))
    return (_Terminal(_in_order(ranges), negated),)


def _in_order(ranges: list[_Range]) -> tuple[_Range, ...]:
    found: list[_Range] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1]:
            found[-1] = found[-1][0], max(high, found[-1][1])
        else:
            found.append((low, high))
    return tuple(found)


def _literal(text: str, at: int) -> _Sequence:
    """The characters of a literal from one on, the later ones as a rule of their own."""
    symbols: list[_Symbol] = []
    for character, end in _characters(text, at):
        symbols.append(_Terminal(((character, character),), negated=False))
        if len(symbols) == _PIECE and end < len(text) - 1:
            return (*symbols, _Inner(partial(_rest_of_literal, text, end)))
    return tuple(symbols)


def _rest_of_literal(text: str, at: int) -> list[_Sequence]:
    return [_literal(text, at)]


def _characters(text: str, at: int) -> Iterator[tuple[str, int]]:
    """Yield what a literal or a class has between its ends, each with where it ends."""
    end = len(text) - 1
    while at < end and (found := _CHARACTER.match(text, at, end)) is not None:
        hex2, hex4, hex8, escaped, plain = found.groups()
        at = found.end()
        if digits := hex2 or hex4 or hex8:
            code = int(digits, 16)
            yield (chr(code) if code < 0x110000 else "\ufffd"), at
        else:
            yield (_ESCAPES.get(escaped, escaped) or plain), at


def _is_too_much(rules: _Written) -> bool:
    """Whether there are too many ways after some text."""
    most = max(_MANY_WAYS, 2 * rules.alternatives)
    found: OpenWays[_Symbol] = OpenWays(
        rules.__getitem__,
        is_rule=lambda symbol: not isinstance(symbol, _Terminal),
        most_looks=_MOST_LOOKS,
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
