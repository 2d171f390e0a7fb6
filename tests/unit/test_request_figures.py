"""What is counted of requests, and how little of what strangers choose."""

from __future__ import annotations

from typing import Any

from runnerd.observability.request_figures import OTHERS, RequestFigures, RequestKind
from runnerd.relay.records import RequestRecord


def record(**said: Any) -> RequestRecord:
    usual: dict[str, Any] = {
        "id": "r", "model": "m", "operation": "chat/completions", "origin": None,
        "user_agent": None, "streamed": True, "bytes_in": 1, "status": 200, "waited": 0.5,
        "first_byte": 1.0, "duration": 3.0,
        "counts": b'"usage":{"prompt_tokens":10,"completion_tokens":5}',
    }  # fmt: skip
    return RequestRecord(**usual | said)


def test_times_of_a_stream() -> None:
    """Duration, first token, each token after it, the wait, and tokens."""
    figures = RequestFigures()
    figures.ended("owner", record())
    figures.add_up()
    times = figures.times["m", "chat/completions"]
    assert times.durations[""].total == 3.0
    assert (times.first_token.total, times.each_token.total, times.waits.total) == (1.0, 0.5, 0.5)
    assert (times.prompt.total, times.generated.total) == (10, 5)
    assert figures.counts == {RequestKind("m", "chat/completions", "", "owner", 200): 1}


def test_a_whole_response_has_no_first_token() -> None:
    """Its first byte comes with its last; and what failed says nothing of speed."""
    figures = RequestFigures()
    figures.ended("user", record(streamed=False))
    figures.ended("user", record(status=502, error="gone"))
    figures.ended("user", record(error="client disconnected"))
    figures.add_up()
    times = figures.times["m", "chat/completions"]
    assert times.first_token.buckets()[-1][1] == 0
    assert {error: each.total for error, each in times.durations.items()} == {
        "": 3.0, "502": 3.0, "200": 3.0,
    }  # fmt: skip
    assert times.generated.buckets()[-1][1] == 1


def test_refused_before_it_was_known_what_it_wants() -> None:
    """It is counted, and has no model."""
    figures = RequestFigures()
    figures.ended("anonymous", record(model="", status=400, error="no"))
    figures.add_up()
    assert figures.counts == {RequestKind("", "chat/completions", "", "anonymous", 400): 1}
    assert figures.times == {}


def test_strangers_cannot_fill_the_memory() -> None:
    """Origins that clients make up are counted together from some on, and so is everything."""
    figures = RequestFigures()
    for number in range(3000):
        figures.ended("user", record(origin=f"o{number}", model=f"m{number % 500}"))
    for status in range(200, 600):
        for operation in range(40):
            figures.ended("user", record(status=status, operation=str(operation)))
    figures.add_up()
    assert len({kind.origin for kind in figures.counts}) <= 23
    assert len({kind.model for kind in figures.counts}) <= 201
    assert len(figures.counts) <= 5000 + 400
    assert sum(figures.counts.values()) == 3000 + 400 * 40
    assert any(kind.model == OTHERS for kind in figures.counts)


def test_many_are_added_up_without_being_asked() -> None:
    """So that no more than some wait."""
    figures = RequestFigures()
    for _ in range(64):
        figures.ended("user", record())
    assert sum(figures.counts.values()) == 64
