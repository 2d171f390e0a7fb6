"""Ways through rules: equal ones are one, and what is looked at is bounded."""

from __future__ import annotations

from runnerd.relay.open_ways import OpenWays

RULES: dict[str, list[tuple[str, ...]]] = {
    "ROOT": [("a", "B"), ("B", "c"), ("MISSING",)],
    "B": [("b",), ()],
    "LOOP": [("LOOP", "x"), ("x",)],
}


def ways(most_looks: int = 100) -> OpenWays[str]:
    return OpenWays(RULES, is_rule=str.isupper, most_looks=most_looks)


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
