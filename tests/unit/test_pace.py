"""How many requests an engine may have, by how quickly it answers."""

from __future__ import annotations

import pytest

from runnerd.scheduler.pace import Pace


def paced(seconds: float, count: int = 33) -> Pace:
    pace = Pace()
    for number in range(count):
        pace.responded(10 + number * seconds, busy=True)
    return pace


@pytest.mark.parametrize(
    ("seconds", "places"),
    [
        (0.0, 32),  # more than four times as many are never given
        (0.0001, 32),
        (0.0004, 12),  # 5 ms of work
        (0.001, 8),  # never fewer than `overcommit` says
        (0.004, 8),
        (1.0, 8),
    ],
)
def test_places(seconds: float, places: int) -> None:
    assert paced(seconds).places(8) == places


def test_a_pace_is_unknown_before_a_busy_engine_has_answered_often() -> None:
    assert paced(0.0001, count=32).places(8) == 8


def test_an_engine_that_was_idle_in_between_has_no_pace() -> None:
    pace = Pace()
    for number in range(100):
        pace.responded(10 + number * 0.0001, busy=number % 20 != 0)
    assert pace.seconds is None


def test_one_long_response_ends_what_quick_ones_earned() -> None:
    pace = paced(0.0001)
    assert pace.places(8) == 32
    assert pace.responded(20.0, busy=True)
    assert pace.places(8) == 8


def test_a_change_is_told_once() -> None:
    pace = Pace()
    changes = [pace.responded(10 + number * 0.0001, busy=True) for number in range(34)]
    assert changes == [False] * 32 + [True, False]
