"""What an engine still has of conversations."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runnerd.backends.slots import SlotMemory
from runnerd.supervisor.held_conversations import HeldConversations

ROOM = 10 * 5000


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.integers(1, 600))), st.integers(0, ROOM))
def test_those_that_fit(uses: list[tuple[str, int]], coming: int) -> None:
    """Once what goes next was dropped as often as it is named, all others fit, the newest ones."""
    held = HeldConversations(SlotMemory(ROOM, 100))
    sizes: dict[str, int] = {}
    for name, tokens in uses:
        held.note(name, tokens)
        sizes.pop(name, None)
        sizes[name] = 4096 + tokens * 100
    while (oldest := held.next_out(coming)) is not None:
        assert oldest == next(iter(sizes))
        assert sum(sizes.values()) + coming > ROOM
        held.drop(oldest)
        del sizes[oldest]
    assert sum(sizes.values()) + coming <= ROOM or not sizes


def test_what_is_used() -> None:
    """Is the newest, of the size that is known of it; what is spared stays."""
    held = HeldConversations(SlotMemory(ROOM, 100))
    held.note("a", 100)
    held.note("b", 100)
    held.use("a", 3)
    assert held.is_newest("a")
    held.use("c", 30)
    assert held.next_out(10_000) is None
    assert held.next_out(ROOM) == "b"
    assert held.next_out(ROOM, spared={"b"}) == "a"
    assert held.next_out(ROOM, spared={"a", "b", "c"}) is None


def test_without_an_end() -> None:
    """Where nothing is known, or all is kept, nothing is named."""
    for memory in (None, SlotMemory(None, 100)):
        held = HeldConversations(memory)
        held.note("a", 10**9)
        assert held.next_out(10**9) is None
        assert not held.bounded
