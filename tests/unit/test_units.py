"""Durations read what Go writes and write what Go reads; sizes and counts are for people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.units import (
    FOREVER,
    binary_size,
    format_duration,
    parse_duration,
    rounded_size,
    scaled_count,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("0s", 0.0),
        ("-1", FOREVER),
        ("-5m", FOREVER),
        ("999999999999", FOREVER),
        ("999999999999h", FOREVER),
        ("300", 300.0),
        ("5m0s", 300.0),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        (".5s", 0.5),
        ("+300ms", 0.3),
    ],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    """Go's strings, bare seconds, and every negative one as for ever."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "5 m", "m", "1d", "--1", "1e9", "inf", "nan", "5m "])
def test_anything_else_is_refused_with_examples(text: str) -> None:
    """The message says how to write one."""
    with pytest.raises(ValueError, match="write 5m"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0"), (-3, "-1"), (0.25, "250ms"), (1.5, "1.5s"), (300, "5m0s"), (3600, "1h0m0s")],
)
def test_durations_are_written_as_go_writes_them(seconds: float, text: str) -> None:
    """With all smaller units, so that Go clients show them unchanged."""
    assert format_duration(seconds) == text


@given(st.integers(min_value=1, max_value=10**9))
def test_what_is_written_is_read_back(milliseconds: int) -> None:
    """To the millisecond."""
    assert parse_duration(format_duration(milliseconds / 1000)) == pytest.approx(
        milliseconds / 1000
    )


@given(st.text(max_size=20))
def test_no_text_breaks_the_reader(text: str) -> None:
    """Any text is a duration or a ValueError."""
    try:
        parse_duration(text)
    except ValueError:
        pass


def test_numbers_for_people() -> None:
    """Parameters count in thousands, bytes in 1024s, with two decimals."""
    assert [scaled_count(n) for n in (7, 1500, 361_821_120, 1_235_814_400, 2 * 10**12)] == [
        "7",
        "1.50 K",
        "361.82 M",
        "1.24 B",
        "2.00 T",
    ]
    assert [binary_size(n) for n in (7, 2048, 268_802_458, 2**31)] == [
        "7 B",
        "2.00 KiB",
        "256.35 MiB",
        "2.00 GiB",
    ]
    assert [rounded_size(n) for n in (0, 7, 242 * 2**10, 300 * 2**20, 1280 * 2**20)] == [
        "0 MiB",
        "7 B",
        "242 KiB",
        "300 MiB",
        "1.2 GiB",
    ]
