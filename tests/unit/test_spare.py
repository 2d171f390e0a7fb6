"""runnerd.resources.spare: when the heap is asked to give memory back."""

from __future__ import annotations

from runnerd.resources.spare import SpareMemory, held

MIB = 2**20


def test_a_process_that_stays_small_is_left_alone() -> None:
    """Nothing is asked for what is within the usual."""
    spare = SpareMemory()
    assert not any(spare.wanted((60 + step) * MIB, step * 5.0) for step in range(30))


def test_what_a_burst_took_is_asked_back_until_it_is_there() -> None:
    """While it is in use nothing can be had; it is asked again when something was freed."""
    spare = SpareMemory()
    assert not spare.wanted(60 * MIB, 0)
    assert spare.wanted(350 * MIB, 5)
    spare.done(348 * MIB, 5)  # all of it was in use
    assert not spare.wanted(350 * MIB, 10)
    assert spare.wanted(310 * MIB, 15)
    spare.done(62 * MIB, 15)
    assert not spare.wanted(64 * MIB, 20)


def test_one_that_stays_large_is_asked_seldom() -> None:
    """Freed memory that shows nowhere is found within a minute."""
    spare = SpareMemory()
    spare.wanted(60 * MIB, 0)
    assert spare.wanted(350 * MIB, 5)
    spare.done(350 * MIB, 5)
    asked = [now for now in range(10, 305, 5) if spare.wanted(350 * MIB, now)]
    assert asked[0] == 65


def test_what_is_held() -> None:
    """It is what the kernel says of this process."""
    assert 2**20 < held() < 2**40
