"""What a runner knows of sessions: which of them goes next."""

from __future__ import annotations

from runnerd.backends.slots import SlotMemory
from runnerd.supervisor.held_conversations import HeldConversations
from runnerd.supervisor.session_life import MOST, SessionLife


def life(room: int | None = None) -> SessionLife:
    return SessionLife(HeldConversations(SlotMemory(room, 1)))


def test_so_many_sessions() -> None:
    """Beyond that the one that was asked longest ago goes, unless it is in use or saved."""
    one = life()
    for number in range(MOST + 1):
        assert one.next_out() is None
        one.requests.note(f"s{number}", (b"x",))
    assert one.next_out() == "s0"
    one.active.add("s0")
    one.saved.add("s1")
    assert one.next_out() == "s2"


def test_only_sessions_are_saved() -> None:
    """What else was evaluated goes first where it is older."""
    one = life(14_000)
    one.held.note("request", 5000)
    one.requests.note("s1", (b"x",))
    one.held.note("s1", 5000)
    assert one.next_out() is None
    assert one.held.is_newest("s1")
    assert one.next_out(5000) == "s1"
    one.drop("s1")
    assert one.next_out() is None


def test_the_last_one_that_is_saved_stays() -> None:
    """Until another conversation is in its slot."""
    one = life(0)
    one.requests.note("s1", (b"x",))
    one.held.note("s1", 1)
    assert one.next_out() == "s1"
    one.saved.add("s1")
    assert one.next_out() is None
    one.used("s1")
    assert "s1" in one.requests
    one.used("s2")
    assert "s1" not in one.requests
