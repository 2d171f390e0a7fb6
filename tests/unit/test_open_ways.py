"""Ways through rules: equal ones are one, and what is looked at is bounded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runnerd.relay.aside import TakesLonger
from runnerd.relay.open_ways import OpenWays

RULES: dict[str, list[tuple[str, ...]]] = {
    "ROOT": [("a", "B"), ("B", "c"), ("MISSING",)],
    "B": [("b",), ()],
    "LOOP": [("LOOP", "x"), ("x",)],
}


def ways(most_looks: int = 100) -> OpenWays[str]:
    return OpenWays(lambda rule: RULES.get(rule, []), is_rule=str.isupper, most_looks=most_looks)


def test_what_can_come() -> None:
    """Each symbol with what is behind it; a rule that is not there has no way."""
    found = ways()
    expected = found.expected(found.of("ROOT"))
    assert sorted(symbol for symbol, _ in expected) == ["a", "b", "c"]
    [behind] = [way for symbol, way in expected if symbol == "a"]
    assert found.expected([behind]) == [("b", None)]


def test_equal_ways_are_one() -> None:
    """Also those that were found anew."""
    found = ways()
    first, again = found.of("LOOP"), found.of("LOOP")
    assert [id(way) for way in first] == [id(way) for way in again]


def test_looks_are_bounded() -> None:
    """A rule that begins with itself has ever more ways."""
    found = ways(most_looks=10)
    found.expected(found.of("LOOP"))
    assert found.exhausted
    assert found.looks == 10


def test_ways_that_are_begun_are_bounded() -> None:
    """A rule of many alternatives that comes again and again has no more of them than are looked
    at.
    """
    rules: dict[str, list[tuple[str, ...]]] = {
        "W": [*((f"w{n}",) for n in range(1000)), ("W", "x")]
    }
    begun: list[tuple[str, ...]] = []

    def ways_of(rule: str) -> Iterator[tuple[str, ...]]:
        for each in rules[rule]:
            begun.append(each)
            yield each

    found = OpenWays(ways_of, is_rule=str.isupper, most_looks=5000)
    found.expected(found.of("W"))
    assert found.exhausted
    assert len(begun) < 7000


async def test_an_event_loop_looks_at_few() -> None:
    """Whoever asks for more is told that it takes longer."""
    found = ways(most_looks=1000)
    with pytest.raises(TakesLonger):
        found.expected(found.of("LOOP"))
    with pytest.raises(TakesLonger):
        assert found.exhausted
    few = ways(most_looks=1000)
    assert len(few.expected(few.of("ROOT"))) == 3
    assert not few.exhausted
