"""Unix time that does not jump."""

from __future__ import annotations

from runnerd.jobs.clock import SteadyClock


def test_it_follows_small_corrections_only() -> None:
    """A time server's corrections count, a day does not, in either direction."""
    wall, passed = 1000.0, 0.0
    clock = SteadyClock(lambda: wall, lambda: passed)
    assert clock() == 1000.0
    wall, passed = 1011.0, 10.0  # one second off: corrected
    assert clock() == 1011.0
    for jump in (86400.0, -86400.0):
        wall = 1011.0 + jump
        assert clock() == 1011.0
    passed = 20.0
    assert clock() == 1021.0


def test_the_hosts_clock() -> None:
    """By default it is Unix time."""
    assert SteadyClock()() > 1.6e9
