"""When jobs begin, by the clock of the scheduler."""

from __future__ import annotations

import math

import pytest

from runnerd.scheduler.pauses import FIRST_PAUSE, LONGEST_PAUSE, Pauses

NEVER = math.inf


def begins_at(pauses: Pauses, *, people_wait: bool = False) -> float:
    return pauses.begins_at(people_wait=people_wait)


def visit(pauses: Pauses, now: float, *, pushes: int | None = None) -> None:
    """Somebody is served for a moment, and a job makes room."""
    pauses.granted(background=False)
    if pushes is not None:
        pauses.displaced(pushes, now)
        pauses.ended(pushes, now, background=True)
    pauses.ended(0, now, background=False)


def test_people() -> None:
    """None while somebody is served or waits, and at once when nobody is any more."""
    pauses = Pauses(NEVER)
    assert begins_at(pauses) == -math.inf
    assert begins_at(pauses, people_wait=True) == math.inf
    pauses.granted(background=False)
    assert begins_at(pauses) == math.inf
    pauses.ended(0, 5.0, background=False)
    assert begins_at(pauses) == 5.0


def test_pauses_grow() -> None:
    """With each time that jobs had to make room, until people were left alone for a minute."""
    pauses, now, found = Pauses(NEVER), 100.0, []
    for ticket in range(8):
        now += 1
        pauses.granted(background=True)
        visit(pauses, now, pushes=ticket)
        found.append(begins_at(pauses) - now)
    assert found[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert found[-1] == LONGEST_PAUSE
    visit(pauses, now + 55)
    assert begins_at(pauses) == now + 60
    visit(pauses, now + 100)
    assert begins_at(pauses) == now + 100
    pauses.granted(background=True)
    visit(pauses, now + 101, pushes=9)
    assert begins_at(pauses) == now + 101 + FIRST_PAUSE


def test_several_at_a_time() -> None:
    """Jobs that make room together count as one."""
    pauses = Pauses(NEVER)
    pauses.granted(background=False)
    for ticket in range(3):
        pauses.granted(background=True)
        pauses.displaced(ticket, 10.0)
    for ticket in range(3):
        pauses.ended(ticket, 10.0, background=True)
    pauses.ended(0, 10.0, background=False)
    assert begins_at(pauses) == 10.0 + FIRST_PAUSE


def test_patience() -> None:
    """One is let through after so long, beside no other one, and then it counts anew."""
    pauses = Pauses(300.0)
    pauses.granted(background=False)
    pauses.wait(100.0)
    pauses.wait(200.0)
    assert begins_at(pauses) == 400.0
    assert pauses.stay(399.0) == 0
    assert pauses.stay(400.0) == 1
    pauses.granted(background=True)
    assert begins_at(pauses) == math.inf
    pauses.ended(1, 500.0, background=True)
    assert pauses.stay(500.0) == 0
    pauses.wait(501.0)
    assert begins_at(pauses) == 801.0


def test_a_displaced_job_got_nothing_done() -> None:
    """It does not count as one that got done."""
    pauses = Pauses(300.0)
    pauses.granted(background=True)
    pauses.granted(background=False)
    pauses.displaced(1, 100.0)
    pauses.ended(1, 101.0, background=True)
    assert begins_at(pauses) == 400.0


@pytest.mark.parametrize("people", [0, 1])
def test_no_patience(people: int) -> None:
    """Then jobs begin beside people."""
    pauses = Pauses(0.0)
    for _ in range(people):
        pauses.granted(background=False)
    assert begins_at(pauses, people_wait=bool(people)) == -math.inf
    assert pauses.stay(0.0) is None


def test_looks() -> None:
    """Whoever waits is looked at once for each time at which something may begin."""
    pauses = Pauses(300.0)
    pauses.granted(background=False)
    assert pauses.look_at(people_wait=False) is None
    pauses.wait(100.0)
    assert pauses.look_at(people_wait=False) == 400.0
    pauses.looked(400.0)
    assert pauses.look_at(people_wait=False) is None
