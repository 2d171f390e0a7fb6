"""Patterns of schemas in the engine's words."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.relay.request_rewrites import patterns
from runnerd.relay.request_rewrites.patterns import engine_pattern

UNSAFE = r'"\\\x00-\x1F'  # what stands in no JSON string as it is
PIECES = st.lists(
    st.sampled_from([*r"[]^-&|~ab0z()*+?{}\.$", r"\p{L}", r"\d", r"\[", "[a-z]", "--", "[^"]),
    max_size=12,
).map("".join)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (r"^[a&&b]$", "^[a&b]$"),
        (r"^[a||b~~c]$", "^[a|b~c]$"),
        (r"^[[a]$", r"^[\[a]$"),
        (r"^[+--]$", r"^[+-\-]$"),
        (r"^[--0]$", r"^[\--0]$"),
        (r"^[]a]$", r"^[\]a]$"),
        (r"^[\p{Nd}&&]$", "^[0-9&]$"),
        (r"^\[a|b$", r"^(\[a[^#]*|[^#]*b)$"),
        (r"^\[\p{Nd}]$", r"^\[[0-9]\]$"),
        (r"^\\p{Nd}$", r"^\\\\p\{Nd\}$"),
        (r"^[\p{Nd}", None),
        (r"^[a--b]$", None),
    ],
)
def test_classes(pattern: str, said: str | None) -> None:
    """What other dialects read as sets are characters, and nobody is warned of them."""
    assert engine_pattern(pattern) == (said and said.replace("#", UNSAFE))


@given(pattern=PIECES)
def test_nothing_is_warned_of(pattern: str) -> None:
    """Any pattern is read or not, in silence: a warning would fail this test."""
    engine_pattern.__wrapped__(pattern)


def test_warnings_of_others_are_shown_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a pattern is read, other threads' warnings go where they always do."""
    before, during = warnings.filters, list[object]()
    parser: Any = vars(patterns)["parser"]
    parse = parser.parse

    def parsing(pattern: str) -> object:
        during.append(warnings.filters)
        return parse(pattern)

    monkeypatch.setattr(parser, "parse", parsing)
    assert engine_pattern.__wrapped__("[a&&b]") is not None
    assert during == [before]
