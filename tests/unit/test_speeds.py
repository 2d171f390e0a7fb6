"""How quickly runners generate, as it is reckoned from requests (`observability/speeds`)."""

from __future__ import annotations

import pytest

from runnerd.observability.speeds import UNKNOWN, Speeds
from runnerd.relay.records import RequestRecord
from runnerd.relay.usage import Usage


class Clock:
    """A clock that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def record(
    id: str,
    began: float,
    *,
    sent: int = 0,
    generated: int | None = None,
    duration: float | None = None,
    runner: str = "r",
    streamed: bool = True,
) -> RequestRecord:
    """A request; one with a duration has ended."""
    return RequestRecord(
        id=id, model="m", operation="chat/completions", origin=None, user_agent=None,
        streamed=streamed, bytes_in=1, clock=began, bytes_out=sent, waited=0.0, first_byte=0.0,
        duration=duration, runner=runner, counts=b"{}", tokens=Usage(generated=generated),
    )  # fmt: skip


def test_what_was_generated_lately(clock: Clock) -> None:
    """Of a minute, while something was generated: what ran at one time counts together."""
    ended = [
        record("c", 990.0, generated=50, duration=5.0),
        record("b", 990.0, generated=50, duration=5.0),
        record("a", 900.0, generated=999, duration=5.0),
    ]
    found = Speeds(clock).look([], ended)
    assert found["r"].lately == pytest.approx(20.0)
    assert found["r"].now is None
    assert found["r"].shown == found["r"].lately
    assert UNKNOWN.shown is None


def test_a_stream_that_runs_tells_its_speed(clock: Clock) -> None:
    """By its bytes, and by what those before it had for a token; then since the look before."""
    speeds = Speeds(clock)
    ended = [record("a", 990.0, sent=2000, generated=20, duration=5.0)]
    stream = record("b", 998.0, sent=4000)
    assert speeds.look([stream], ended)["r"].now == pytest.approx(20.0)  # 40 tokens in 2 s
    clock.now, stream.bytes_out = 1002.0, 4400
    assert speeds.look([stream], ended)["r"].now == pytest.approx(2.0)  # 4 more in 2 s
    clock.now = 1004.0
    found = speeds.look([stream], ended)["r"]
    assert found.now == 0.0
    assert found.shown == 0.0
    assert speeds.look([], ended)["r"].now is None


def test_looks_that_follow_each_other_at_once(clock: Clock) -> None:
    """Several who look do not make each other's figures jump."""
    speeds, stream = Speeds(clock), record("b", 999.0, sent=2000)
    first = speeds.look([stream], [])["r"].now
    clock.now = 1000.01
    second = speeds.look([stream], [])["r"].now
    assert first == pytest.approx(10.0)
    assert second == pytest.approx(10.0, rel=0.1)


def test_streams_of_one_runner_are_added_up(clock: Clock) -> None:
    """Each runner has its own sum; a stream that has just begun tells nothing yet."""
    streams = [
        record("a", 999.0, sent=2000),
        record("b", 999.0, sent=4000),
        record("c", 999.0, sent=6000, runner="other"),
        record("d", 999.9, sent=999, runner="new"),
        record("e", 990.0, runner="whole", streamed=False),
    ]
    found = Speeds(clock).look(streams, [])
    assert {name: speed.now for name, speed in found.items()} == {"r": 30.0, "other": 30.0}


def test_another_runners_streams_serve_for_one_without(clock: Clock) -> None:
    """A runner's first stream is measured by others' of the same operation."""
    ended = [record("a", 990.0, sent=5000, generated=10, duration=5.0, runner="other")]
    found = Speeds(clock).look([record("b", 999.0, sent=5000)], ended)
    assert found["r"].now == pytest.approx(10.0)
