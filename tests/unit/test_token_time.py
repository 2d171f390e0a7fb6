"""Whether a response is short: by what tokens have taken."""

from __future__ import annotations

from runnerd.relay.token_time import TokenTime

EIGHT_TOKENS = b'"usage":{"completion_tokens":8,"prompt_tokens":2,"total_tokens":10}'


def seen(seconds: float, counts: bytes | None = EIGHT_TOKENS, times: int = 8) -> TokenTime:
    time = TokenTime()
    for _ in range(times):
        time.responded(seconds, counts)
    return time


def test_a_quick_engine_has_short_responses() -> None:
    time = seen(0.008)
    assert time.is_short(50)
    assert not time.is_short(51)


def test_nothing_is_short_before_an_engine_is_known() -> None:
    assert not TokenTime().is_short(1)
    assert not seen(0.008, times=7).is_short(1)
    assert not seen(0.008, counts=None).is_short(1)
    assert not seen(0.008, counts=b'"usage":{"completion_tokens":0}').is_short(1)


def test_one_slow_response_counts_at_once_and_quick_ones_by_and_by() -> None:
    time = seen(0.008)
    time.responded(0.8, EIGHT_TOKENS)
    assert not time.is_short(1)
    for _ in range(8):
        time.responded(0.008, EIGHT_TOKENS)
    assert not time.is_short(1)
    for _ in range(8 * 8):
        time.responded(0.008, EIGHT_TOKENS)
    assert time.is_short(1)
