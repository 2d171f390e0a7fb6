"""How many requests an engine may have, by how quickly it answers."""

from __future__ import annotations

import itertools
from collections import deque

import pytest

from runnerd.scheduler.pace import Pace

_WORK = 0.0001  # seconds from one response to the next


class Engine:
    """An engine of four slots that is asked by so many that it always has all it may have."""

    def __init__(self, slots: int = 4) -> None:
        self.pace = Pace(slots)
        self.now = 10.0
        self.least = 2 * slots
        self.has: deque[float] = deque()  # when each was given
        self.fill()

    @property
    def places(self) -> int:
        return self.pace.places(self.least, self.now)

    def fill(self) -> None:
        while len(self.has) < self.places:
            self.has.append(self.now)

    def answers(self, count: int, *, after: float = _WORK) -> None:
        """So many responses, each so long after the one before, and for each another request."""
        for _ in range(count):
            self.now += after
            self.pace.responded(self.has.popleft(), self.now, self.has)
            self.fill()

    def stands_still(self, seconds: float) -> None:
        """Engine or daemon wait for the processor."""
        self.now += seconds

    def is_left_alone(self, seconds: float) -> None:
        while self.has:
            self.now += _WORK
            self.pace.responded(self.has.popleft(), self.now, self.has)
        self.now += seconds


def paced(seconds: float, count: int = 200) -> Engine:
    engine = Engine()
    engine.answers(count, after=seconds)
    return engine


@pytest.mark.parametrize(
    ("seconds", "places"),
    [
        (0.0, 32),  # more than four times as many are never given
        (0.0001, 32),
        (0.0004, 32),
        (0.001, 20),  # 20 ms of work
        (0.004, 8),  # never fewer than `overcommit` says
        (1.0, 8),
    ],
)
def test_places(seconds: float, places: int) -> None:
    assert paced(seconds).places == places


def test_a_pace_is_unknown_before_a_busy_engine_has_answered_often() -> None:
    assert paced(_WORK, count=30).places == 8


def test_what_takes_long_is_no_pace() -> None:
    engine = paced(0.006)
    assert engine.pace.seconds(engine.now) is None


def test_an_engine_of_which_little_is_used_has_no_pace() -> None:
    """One request after the other says nothing of many at a time."""
    pace = Pace(4)
    for number in range(200):
        pace.responded(10 + number * _WORK, 10 + (number + 1) * _WORK, ())
    assert pace.seconds(10.02) is None


def test_one_long_response_ends_what_quick_ones_earned() -> None:
    engine = paced(_WORK)
    assert engine.places == 32
    engine.stands_still(1.0)
    engine.answers(1)
    assert engine.places == 8


@pytest.mark.parametrize(("long_ones", "places"), [(1, 32), (3, 8)])
def test_quick_ones_beside_long_ones(long_ones: int, places: int) -> None:
    """Where many are long, whoever comes would wait behind them."""
    pace = Pace(4)
    given: deque[float] = deque([10.0] * 8)
    long = [given.popleft() for _ in range(long_ones)]
    now = 10.0
    for _ in range(1000):
        now += _WORK
        pace.responded(given.popleft(), now, [*long, *given])
        given.append(now)
    assert pace.places(8, now) == places


def test_an_engine_that_was_left_alone_has_to_show_again_that_it_is_quick() -> None:
    engine = paced(_WORK)
    engine.is_left_alone(0.2)
    assert engine.places == 32
    engine.is_left_alone(0.3)
    assert engine.places == 8


def test_an_engine_that_becomes_slow_loses_its_places() -> None:
    engine = paced(_WORK, count=1000)
    engine.answers(10, after=0.1)
    assert engine.places == 8


@pytest.mark.parametrize("longest", [0.004, 0.01, 0.03])
@pytest.mark.parametrize("usual", [0.001, 0.003, 0.006])
def test_waits_for_the_processor_do_not_count(usual: float, longest: float) -> None:
    """A busy machine: before all that the engine has is answered, daemon or engine stand still for
    some milliseconds, now and then for longer.
    """
    engine = Engine()
    places = []
    for stall in itertools.islice(itertools.cycle([*[usual] * 8, longest]), 60):
        places.append(engine.places)
        engine.stands_still(stall)
        engine.answers(engine.places, after=_WORK / 2)
    assert min(places[30:]) >= 28


@pytest.mark.parametrize("slots", [4, 8, 64, 256])
def test_slots_that_complete_together_are_not_quick(slots: int) -> None:
    """An engine that computes a batch for 20 ms and then has all its responses at once."""
    engine = Engine(slots)
    for _ in range(20):
        engine.stands_still(0.02)
        engine.answers(slots, after=0)
        each = engine.pace.seconds(engine.now)
        assert each is None or each >= 0.02 / slots


def test_a_daemon_that_stands_still_does_not_take_a_batch_for_quick() -> None:
    """What a slow engine has completed meanwhile comes at once."""
    engine = Engine()
    for _ in range(50):
        engine.stands_still(0.041)  # two batches of four
        engine.answers(8, after=0.00001)
        assert engine.places == 8
