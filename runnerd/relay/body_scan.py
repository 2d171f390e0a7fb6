"""One pass over a body's bytes, in small pieces, before anything is decoded.

What decoding costs follows from how many values, containers, strings and escapes a body has, and
not from its size alone: four megabytes of brackets take seconds, four of text a millisecond.  So
these are counted first, and what no client sends in earnest is refused as soon as it is seen.  A
piece is short because Python's threads take turns only between calls into C: where a large body is
looked at in a thread, the event loop goes on meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate

import msgspec

from runnerd.errors import ClientError, PayloadTooLarge
from runnerd.relay.body import UNSAID, Body

LARGE = 128 * 2**10
"""Bytes beyond which a body is looked at in a thread."""

_SMALL = 4096  # bytes of a body that costs nothing, whatever is in it
_FEW_CONTAINERS = 2048
_FEW_QUOTES = 8192
_MOST_CONTAINERS = 2**16
_MOST_STRINGS = 2**17
_MOST_VALUES = 2**20
_MOST_ESCAPES = 2**22

_WINDOW = 32 * 2**10
_LEAP = 2**20  # bytes of a long string that are searched at once
_ESCAPE = re.compile(rb"\\.", re.DOTALL)
_TEXT = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_NO_MARK = bytes(set(range(256)) - set(b'[]{}"'))
_ARRAY = ord("[")
_STEPS = [0] * 256
_STEPS[ord("[")] = _STEPS[ord("{")] = 1
_STEPS[ord("]")] = _STEPS[ord("}")] = -1
_step = _STEPS.__getitem__


def is_heavy(body: Body) -> bool:
    """Whether to look at a body takes longer than the event loop can spare."""
    size = len(body)
    if size <= _SMALL:
        return False
    return (
        size > LARGE
        or body.count(b"[") + body.count(b"{") > _FEW_CONTAINERS
        or body.count(b'"') > _FEW_QUOTES
    )


def check_weight(body: Body, depth: int) -> None:
    """Refuse a body that is nested deeper than `depth`, or has more of something than is decoded.

    Raises errors.ClientError and errors.PayloadTooLarge.
    """
    _check_escapes(body)
    containers = strings = values = level = 0
    for piece in outlines(body):
        marks = piece.translate(None, _NO_MARK)
        strings += marks.count(b'"')
        containers += marks.count(b"[") + marks.count(b"{")
        values += piece.count(b",") + piece.count(b":")
        _check_count("containers", containers, _MOST_CONTAINERS)
        _check_count("strings", strings, _MOST_STRINGS)
        _check_count("values", values, _MOST_VALUES)
        level = _followed(marks, level, depth)


def check_depth(body: Body, depth: int) -> None:
    """Refuse a body that is nested deeper than `depth`.  Raises errors.ClientError."""
    level = 0
    for piece in outlines(body):
        level = _followed(piece.translate(None, _NO_MARK), level, depth)


def too_deep(depth: int) -> ClientError:
    """The refusal of a body that is nested deeper than `depth`."""
    return ClientError(f"the request body is nested deeper than {depth} levels")


def count_prompts(raw: msgspec.Raw) -> int:
    """How many prompts a field has; an array of token numbers is one prompt."""
    if raw is UNSAID or memoryview(raw)[0] != _ARRAY:
        return 1
    return max(1, _count_entries(bytes(raw)))


def _count_entries(text: Body) -> int:
    """How many strings, arrays and objects stand in an array, not counting what is in them."""
    level = -1  # the array's own bracket leads to 0
    found = 0
    for piece in outlines(text):
        marks = piece.translate(None, _NO_MARK)
        levels = list(accumulate(map(_step, marks), initial=level))
        found += levels[1:].count(0)  # after each entry, and after the bracket
        level = levels[-1]
    return max(0, found - 1)


def outlines(body: Body) -> Iterator[bytes]:
    """Yield JSON text piece by piece, with a single quotation mark in place of each string."""
    at, size = 0, len(body)
    while at < size:
        window = bytes(body[at : at + _WINDOW])
        if b"\\" in window:
            window = _ESCAPE.sub(b"  ", window)
        if window.count(b'"') % 2 == 0:
            yield _without_texts(window)
            at += len(window)
        else:
            start = window.rfind(b'"')  # of a string that is longer
            yield _without_texts(window[:start]) + b'"'
            at = _string_end(body, at + start + 1)


def _without_texts(piece: bytes) -> bytes:
    return b'"'.join(piece.split(b'"')[::2])


def _string_end(body: Body, at: int) -> int:
    """Where a string ends whose text begins at `at`; at the end of the body if nowhere."""
    size = len(body)
    while at < size:
        end = body.find(b'"', at, at + _LEAP)
        stop = min(at + _LEAP, size) if end < 0 else end
        if body.find(b"\\", at, stop) < 0:
            at = stop
        else:
            at = _TEXT.match(body, at, at + _WINDOW).end()  # type: ignore[union-attr]
            if body[at : at + 1] == b"\\":  # the window ends within an escape
                at += 2
                continue
        if body[at : at + 1] == b'"':
            return at + 1
    return size


def _followed(marks: bytes, level: int, depth: int) -> int:
    """The level behind some brackets.  Raises errors.ClientError for one that is too deep."""
    if not marks:
        return level
    levels = list(accumulate(map(_step, marks), initial=level))
    if max(levels) > depth:
        raise too_deep(depth)
    return levels[-1]


def _check_escapes(body: Body) -> None:
    found = 0
    for at in range(0, len(body), _LEAP):
        found += body.count(b"\\", at, at + _LEAP)
    _check_count("escapes", found, _MOST_ESCAPES)


def _check_count(what: str, count: int, limit: int) -> None:
    if count > limit:
        raise PayloadTooLarge(f"the request body has more than {limit} {what}")
