"""How many requests an engine may have, by how quickly it answers."""

from __future__ import annotations

import itertools

import pytest

from runnerd.scheduler.pace import Pace

_QUICK = 0.0001  # seconds from one response to the next


class Engine:
    """An engine that answers, and when."""

    def __init__(self, slots: int | None = None) -> None:
        self.pace = Pace(slots)
        self.now = 10.0

    def answers(self, count: int, *, after: float = _QUICK) -> list[bool]:
        """So many responses, each so long after the one before; whether each changed the pace."""
        changed = []
        for _ in range(count):
            self.now += after
            changed.append(self.pace.responded(self.now, busy=True))
        return changed

    @property
    def places(self) -> int:
        return self.pace.places(8, self.now)


def paced(seconds: float, count: int = 33) -> Engine:
    engine = Engine()
    engine.answers(count, after=seconds)
    return engine


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
    assert paced(seconds).places == places


def test_a_pace_is_unknown_before_a_busy_engine_has_answered_often() -> None:
    assert paced(_QUICK, count=32).places == 8


def test_what_takes_long_is_no_pace() -> None:
    engine = paced(0.006, count=100)
    assert engine.pace.seconds(engine.now) is None


def test_an_engine_that_was_idle_in_between_has_no_pace() -> None:
    pace = Pace()
    for number in range(100):
        pace.responded(10 + number * _QUICK, busy=number % 20 != 0)
    assert pace.seconds(10.01) is None


def test_one_long_response_ends_what_quick_ones_earned() -> None:
    engine = paced(_QUICK)
    assert engine.places == 32
    engine.answers(1, after=1.0)
    assert engine.places == 8


def test_an_engine_that_was_left_alone_has_to_show_again_that_it_is_quick() -> None:
    engine = paced(_QUICK)
    engine.now += 0.2
    assert engine.places == 32
    engine.now += 0.3
    assert engine.places == 8


def test_an_engine_that_becomes_slow_loses_its_places_within_a_second() -> None:
    engine = paced(_QUICK, count=1000)
    engine.answers(10, after=0.1)
    assert engine.places == 8


@pytest.mark.parametrize("longest", [0.003, 0.01, 0.05])
def test_waits_for_the_processor_do_not_count(longest: float) -> None:
    """A busy machine: after all that the engine had, daemon or engine stand still for some
    milliseconds, now and then for longer; still twice as many requests are worth it.
    """
    engine = Engine()
    places = []
    for stall in itertools.islice(itertools.cycle([*[0.003] * 8, longest]), 100):
        places.append(engine.places)
        engine.answers(engine.places - 1)
        engine.answers(1, after=stall)
    assert min(places[30:]) >= 16


@pytest.mark.parametrize("slots", [4, 8, 64, 256])
def test_slots_that_complete_together_are_not_quick(slots: int) -> None:
    """An engine that computes a batch for 20 ms and then has all its responses at once."""
    engine = Engine(slots)
    for _ in range(20):
        engine.answers(1, after=0.02)
        engine.answers(slots - 1, after=0.00001)
        each = engine.pace.seconds(engine.now)
        assert each is None or each >= 0.6 * 0.02 / slots


def test_what_may_have_changed_is_told_once_for_many_responses() -> None:
    changes = Engine().answers(66)
    assert list(itertools.compress(range(66), changes)) == [32, 64]
