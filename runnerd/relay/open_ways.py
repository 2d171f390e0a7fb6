"""The ways that rules have open after some text, each followed at most once.

A *way* is what still has to come: a place in a sequence of symbols, and the way behind that; None
where nothing has to.  Equal ways are one object, as they are one to an engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, NamedTuple, TypeVar

from runnerd.relay import aside

_AT_ONCE = 256  # looks: less than a millisecond

S = TypeVar("S")


class Way(NamedTuple):
    """A place in a sequence, and the way behind that."""

    sequence: tuple[Any, ...]
    at: int
    behind: Way | None


class OpenWays(Generic[S]):
    """Follows rules: `ways_of` one are its sequences of symbols, always the same objects, and
    `is_rule` says which symbols are rules.

    `looks` counts the places that were looked at, of `most_looks`.  On an event loop they are few,
    and whoever asks for more gets aside.TakesLonger.
    """

    def __init__(
        self,
        ways_of: Callable[[S], Iterable[tuple[S, ...]]],
        *,
        is_rule: Callable[[S], bool],
        most_looks: int,
    ) -> None:
        self._ways_of = ways_of
        self._is_rule = is_rule
        self._most_looks = aside.at_once(most_looks, _AT_ONCE)
        self._ways: dict[tuple[int, int, int], Way] = {}  # by the identity of their parts
        self.looks = 0

    @property
    def exhausted(self) -> bool:
        """Whether enough was looked at.  Raises aside.TakesLonger."""
        aside.check_spent(self.looks, _AT_ONCE)
        return self.looks >= self._most_looks

    def of(self, rule: S) -> list[Way | None]:
        """The ways in which a rule begins."""
        return [self._way(each, 0, None) for each in self._ways_of(rule)]

    def expected(self, ways: Iterable[Way | None]) -> list[tuple[S, Way | None]]:
        """The symbols that can come next and are no rules, each with the way behind it; some of
        them where enough was looked at.  Raises aside.TakesLonger.
        """
        found: list[tuple[S, Way | None]] = []
        todo = list(ways)
        seen = set(map(id, todo))
        is_rule, most = self._is_rule, self._most_looks
        self.looks += len(todo)
        while todo:
            way = todo.pop()
            if way is None:
                continue
            sequence, at, behind = way
            symbol = sequence[at]
            after = self._way(sequence, at + 1, behind)
            if not is_rule(symbol):
                found.append((symbol, after))
                continue
            for each in self._ways_of(symbol):
                if self.looks >= most:
                    aside.check_spent(self.looks, _AT_ONCE)
                    return found
                begun = self._way(each, 0, after)
                if id(begun) not in seen:
                    seen.add(id(begun))
                    todo.append(begun)
                    self.looks += 1
        return found

    def _way(self, sequence: tuple[S, ...], at: int, behind: Way | None) -> Way | None:
        """What still has to come from a place of a sequence on."""
        if at == len(sequence):
            return behind
        key = id(sequence), at, id(behind)
        way = self._ways.get(key)
        if way is None:
            way = self._ways[key] = Way(sequence, at, behind)
        return way
