"""Quantities as people and other programs write them: durations, sizes, counts.

A duration (`5m`, `1h30m0s`, `300ms`, `0`, `-1`) is the wire form of a keep-alive in Docker Model
Runner's and Ollama's APIs.  A bare number is seconds, and anything below zero means for ever.
A span (`30d`) is how long something counts that an owner gives.
"""

from __future__ import annotations

import re

FOREVER = -1.0
"""A keep-alive below zero: the runner never expires."""

MOST_SECONDS = 100 * 365 * 86400.0
"""A longer time is for ever: it would overflow dates and timers."""

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = r"(\d{1,12}(?:\.\d{0,12})?|\.\d{1,12})(ns|us|µs|ms|s|m|h)"
_DURATION = re.compile(rf"(?P<sign>[+-]?)(?P<parts>(?:{_PART})+)", re.ASCII)
_SECONDS = re.compile(r"[+-]?(?:\d{1,12}(?:\.\d{0,12})?|\.\d{1,12})", re.ASCII)
_SPAN_UNITS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_SPAN = re.compile(r"(?:\d{1,9}[wdhms]){1,5}", re.ASCII)


def bounded_seconds(seconds: float) -> float:
    """Seconds as they are, FOREVER for a negative number and for one beyond MOST_SECONDS.

    Raises ValueError for what is no number.
    """
    if seconds != seconds:
        raise ValueError("it is not a number of seconds")
    return float(seconds) if 0 <= seconds <= MOST_SECONDS else FOREVER


def parse_duration(text: str) -> float:
    """Return seconds, FOREVER for a duration that is negative or very long.  Raises ValueError."""
    if _SECONDS.fullmatch(text):
        seconds = float(text)
    elif found := _DURATION.fullmatch(text):
        parts = re.findall(_PART, found["parts"])
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
        seconds = -seconds if found["sign"] == "-" else seconds
    else:
        raise ValueError(f"{text!r} is no duration; write 5m, 1h30m, 0 (at once) or -1 (for ever)")
    return bounded_seconds(seconds)


def parse_span(text: str) -> float:
    """Return the seconds of a span as people say it: `30d`, `2w`, `12h`, `1d12h`, `90m`.

    Raises ValueError.
    """
    plain = text.strip().lower().replace(" ", "")
    if not _SPAN.fullmatch(plain):
        raise ValueError(f"{text[:100]!r} is no span of time; write 30d, 2w, 12h or 90m")
    found = re.findall(r"(\d+)([a-z])", plain)
    seconds = float(sum(int(number) * _SPAN_UNITS[unit] for number, unit in found))
    if not 0 < seconds <= MOST_SECONDS:
        raise ValueError(f"{text[:100]!r} is not between a second and a hundred years")
    return seconds


def format_duration(seconds: float) -> str:
    """Return a duration as Go writes it, `0` for none and `-1` for ever."""
    if seconds < 0:
        return "-1"
    if seconds == 0:
        return "0"
    milliseconds = round(seconds * 1000)
    if milliseconds < 1000:
        return f"{seconds * 1000:g}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h" if hours else ""
    text += f"{minutes}m" if hours or minutes else ""
    whole, fraction = divmod(rest, 1000)
    return text + (f"{whole}.{fraction:03}".rstrip("0") if fraction else str(whole)) + "s"


def scaled_count(number: int) -> str:
    """A number of things as people write it: `1.24 B`, `361.82 M`."""
    for unit, size in (("T", 10**12), ("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if number >= size:
            return f"{number / size:.2f} {unit}"
    return str(number)


def binary_size(number: int) -> str:
    """A size in bytes as Docker writes it: `256.35 MiB`."""
    for unit, size in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if number >= size:
            return f"{number / size:.2f} {unit}"
    return f"{number} B"


def rounded_size(number: int) -> str:
    """A size in bytes where a glance has to do: `1.2 GiB`, `256 MiB`."""
    if number >= 2**30:
        return f"{number / 2**30:.1f} GiB"
    if number >= 2**20 or number == 0:
        return f"{number / 2**20:.0f} MiB"
    return f"{number / 2**10:.0f} KiB" if number >= 2**10 else f"{number} B"
