"""How much a user may do."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.access import UserLimits
from runnerd.access.limits import Limiter
from runnerd.errors import LimitReached

ANN, BOB = "user ann", "user bob"


def test_requests_per_minute() -> None:
    """Of any sixty seconds; what was refused does not count, and others' do not."""
    limiter, limits = Limiter(), UserLimits(requests_per_minute=2)
    for now in (100.0, 110.0):
        limiter.begin(ANN, limits, now)
        limiter.end(ANN, now)
    for _ in range(3):
        with pytest.raises(LimitReached, match="requests_per_minute") as refused:
            limiter.begin(ANN, limits, 120.0)
        assert refused.value.retry_after == 41
        assert refused.value.limit == "requests_per_minute"
    limiter.begin(BOB, limits, 120.0)
    with pytest.raises(LimitReached):
        limiter.begin(ANN, limits, 160.9)
    limiter.begin(ANN, limits, 161.0)
    with pytest.raises(LimitReached):
        limiter.begin(ANN, limits, 170.9)
    limiter.begin(ANN, limits, 171.0)


@given(st.lists(st.floats(0, 30), max_size=60), st.integers(1, 5))
def test_any_sixty_seconds(pauses: list[float], most: int) -> None:
    """Whenever requests come, no sixty seconds have more of those that were let in."""
    limiter, limits, now = Limiter(), UserLimits(requests_per_minute=most), 1000.0
    let_in: list[float] = []
    for pause in pauses:
        now += pause
        with suppress(LimitReached):
            limiter.begin(ANN, limits, now)
            let_in.append(now)
    for first, last in zip(let_in, let_in[most:], strict=False):
        assert last - first >= 60


def test_many_requests_in_a_minute() -> None:
    """They are counted by the second, in the memory of sixty numbers; a clock may be put back."""
    limiter, limits = Limiter(), UserLimits(requests_per_minute=100_000)
    for number in range(100_000):
        counts = limiter.begin(ANN, limits, 1000.0 + number / 2000)
    assert counts.requests.count == 100_000
    with pytest.raises(LimitReached):
        limiter.begin(ANN, limits, 900.0)


def test_concurrent_requests() -> None:
    """One that has ended makes room for the next."""
    limiter, limits = Limiter(), UserLimits(concurrent_requests=2)
    limiter.begin(ANN, limits, 0.0)
    limiter.begin(ANN, limits, 0.0)
    with pytest.raises(LimitReached, match="concurrent_requests"):
        limiter.begin(ANN, limits, 0.0)
    limiter.end(ANN, 0.0)
    limiter.begin(ANN, limits, 0.0)


def test_tokens_per_day() -> None:
    """The request that passes the limit is answered, the next one waits for the next day."""
    limiter, limits = Limiter(), UserLimits(tokens_per_day=100)
    day = 86400.0
    limiter.spend(ANN, 99, day)
    limiter.begin(ANN, limits, day + 10)
    limiter.end(ANN, day + 20)
    limiter.spend(ANN, 50, day + 20)
    with pytest.raises(LimitReached, match="tokens_per_day") as refused:
        limiter.begin(ANN, limits, day + 30)
    assert refused.value.retry_after == day - 30
    limiter.begin(ANN, limits, 2 * day)


def test_tokens_that_are_reserved() -> None:
    """Count as long as their request is under way: whoever asks meanwhile waits a moment."""
    limiter, limits = Limiter(), UserLimits(tokens_per_day=100)
    limiter.begin(ANN, limits, 10.0)
    limiter.reserve(ANN, 60)
    limiter.begin(ANN, limits, 10.0)
    assert limiter.left(ANN, 100, 10.0) == 40
    limiter.reserve(ANN, 40)
    with pytest.raises(LimitReached, match="tokens_per_day") as refused:
        limiter.begin(ANN, limits, 10.0)
    assert refused.value.retry_after == 1
    limiter.spend(ANN, 30, 11.0)
    limiter.end(ANN, 11.0, reserved=60)
    limiter.end(ANN, 11.0, reserved=40)
    assert limiter.left(ANN, 100, 11.0) == 70
    assert limiter.left(BOB, 100, 11.0) == 100


def test_a_limit_of_nothing() -> None:
    """It refuses everything, and says so."""
    for name in ("requests_per_minute", "concurrent_requests", "tokens_per_day"):
        with pytest.raises(LimitReached, match=name):
            Limiter().begin(ANN, UserLimits(**{name: 0}), 0.0)
