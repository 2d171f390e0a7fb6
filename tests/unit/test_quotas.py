"""Which sessions make room, and what is said of that beforehand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runnerd.sessions.quotas import next_to_go, superfluous, warnings

HOLDINGS = st.lists(st.integers(0, 50), max_size=30).map(
    lambda sizes: [(str(number), size) for number, size in enumerate(sizes)]
)


@given(HOLDINGS, st.integers(1, 20), st.integers(1, 200), st.integers(0, 40))
def test_the_longest_unused_go_and_no_more_than_have_to(
    holdings: list[tuple[str, int]], most: int, most_bytes: int, spared: int
) -> None:
    """What is left fits, but for the one that is being used; the one that went last had to."""
    gone = superfluous(holdings, most=most, most_bytes=most_bytes, spared=str(spared))

    def fits(left: list[tuple[str, int]]) -> bool:
        return len(left) <= most and sum(size for _, size in left) <= most_bytes

    left = [each for each in holdings if each[0] not in gone]
    assert str(spared) not in gone
    assert fits(left) or left in ([], [each for each in holdings if each[0] == str(spared)])
    if gone:
        assert not fits([each for each in holdings if each[0] not in gone[:-1]])
    others = [id for id, _ in holdings if id != str(spared)]
    assert gone == others[: len(gone)]


@given(HOLDINGS, st.integers(1, 20), st.integers(1, 200))
def test_who_goes_next_was_told(
    holdings: list[tuple[str, int]], most: int, most_bytes: int
) -> None:
    """One more session removes only what had been said to be next, if it takes no more than a
    tenth.
    """
    held = [each for each in holdings if not superfluous(
        holdings, most=most, most_bytes=most_bytes, spared="") or each[0] not in superfluous(
        holdings, most=most, most_bytes=most_bytes, spared="")]  # fmt: skip
    told = next_to_go(held, most=most, most_bytes=most_bytes)
    grown = [*held, ("new", most_bytes // 10)]
    gone = superfluous(grown, most=most, most_bytes=most_bytes, spared="new")
    assert {*gone} <= told or most == 1


def test_what_is_said() -> None:
    """When it ends, and that it is next; nothing otherwise."""
    assert warnings(10_000, 0, warn_before=9_999, is_next=False) == []
    [soon] = warnings(7_200, 0, warn_before=7_200, is_next=False)
    assert "removed in 2 hours" in soon
    [soon] = warnings(10, 0, warn_before=7_200, is_next=False)
    assert "removed in 1 hour " in soon
    [following] = warnings(10_000, 0, warn_before=0, is_next=True)
    assert "removed next" in following
