"""runnerd.backends.llamacpp.building.estimate: how long a build still takes."""

from __future__ import annotations

import pytest

from runnerd.backends.llamacpp.building.estimate import Estimate, left, planned, weight
from runnerd.backends.llamacpp.building.weights import USUAL, WEIGHTS

COVERS = ("runnerd.backends.llamacpp.building.weights",)


def line(number: int, of: int, unit: str) -> bytes:
    return f"[{number}/{of}] Building CXX object src/CMakeFiles/x.dir/{unit}.o\n".encode()


def test_units_differ() -> None:
    """What is no unit is a link; one that nobody knows is as the usual one."""
    assert weight(b"Building CXX object a/clip.cpp.o") == WEIGHTS["clip.cpp"]
    assert weight(b"Building CXX object a/new-one.cpp.o") == USUAL
    assert weight(b"Linking CXX executable bin/llama-server") < USUAL
    assert all(seconds > USUAL for seconds in WEIGHTS.values())
    text = line(1, 2, "clip.cpp") + line(2, 2, "new-one.cpp")
    assert planned(text) == pytest.approx(WEIGHTS["clip.cpp"] + USUAL)


def test_the_pace_is_taken_from_what_was_done() -> None:
    """Half of the work in ten seconds leaves ten, whatever the number of units is."""
    now = 0.0
    estimate = Estimate(4 * USUAL, lambda: now)
    assert estimate.remaining is None
    now = 5.0
    text = line(1, 4, "a.cpp")
    assert not estimate.feed(text[:10])  # a piece of a line
    assert estimate.feed(text[10:])
    now = 10.0
    assert estimate.feed(line(2, 4, "b.cpp"))
    assert (estimate.done, estimate.of) == (2, 4)
    assert estimate.remaining == pytest.approx(10.0)
    assert not estimate.feed(b"warning: something\n")


def test_nobody_can_tell_yet() -> None:
    """Neither at the beginning nor where Ninja said nothing."""
    assert Estimate(0.0).remaining is None
    estimate = Estimate(1000.0, lambda: 1.0)
    estimate.feed(line(1, 900, "a.cpp"))
    assert estimate.remaining is None


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, ""),
        (0.0, ", about 5 s left"),
        (43.0, ", about 45 s left"),
        (89.0, ", about 90 s left"),
        (200.0, ", about 3 min left"),
    ],
)
def test_a_time_is_as_exact_as_it_is(seconds: float | None, said: str) -> None:
    """No false seconds."""
    assert left(seconds) == said
