"""request_rewrites.undecodable_text: halves of characters become U+FFFD, all else stays."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.relay.request_rewrites.undecodable_text import decodable


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        (rb'"a\ud83d b"', rb'"a\ufffd b"'),
        (rb'"\uDE00"', rb'"\ufffd"'),
        (rb'"\ud83d\ud83d\ude00"', rb'"\ufffd\ud83d\ude00"'),
        (rb'"\ude00\ud83d"', rb'"\ufffd\ufffd"'),
        (rb'"\\ud83d"', None),
        (rb'"\\\ud83d"', rb'"\\\ufffd"'),
        (rb'"\ud83d\ude00"', None),
        (rb'"\u00e9"', None),
        (b'"', None),
        (b"\\", None),
        (b"\xef\xbb\xbf{}", b"{}"),
    ],
)
def test_halves(body: bytes, changed: bytes | None) -> None:
    """Pairs stay, and so does a backslash that is escaped itself."""
    assert decodable(body) == changed


@given(
    st.text(st.characters(min_codepoint=0xD780, max_codepoint=0xE080) | st.sampled_from("\\ud8"))
)
def test_any_text(text: str) -> None:
    """What is left can be encoded, and every whole character is where it was."""
    body = json.dumps(text).encode()
    found = json.loads(decodable(body) or body)
    whole = json.loads(json.dumps(text))  # two halves in a row are a character
    assert found == "".join("\ufffd" if 0xD800 <= ord(c) < 0xE000 else c for c in whole)
