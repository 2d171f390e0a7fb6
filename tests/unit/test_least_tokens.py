"""Tokens at the least, of texts as they stand in JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.relay import least_tokens
from runnerd.relay.least_tokens import TOKEN_BYTES, TOKEN_CHANGES, Length


def kinds(text: str) -> Iterator[str]:
    """Of each character: a sign, a space, or a letter, which all beyond ASCII are."""
    for each in text:
        if each in " \t\n\r\b\f":
            yield " "
        else:
            yield "a" if each >= "\x80" or each < " " or each.isalnum() or each == "_" else "."


@given(
    st.text(max_size=60) | st.text(st.sampled_from('a \\"/n\nué😀\x00<'), max_size=60),
    st.booleans(),
    st.integers(6, 70),
)
def test_as_it_is_read(text: str, escaped: bool, window: int) -> None:
    """However a text is written and cut, its changes are counted, or fewer; of bytes no more than
    there are.
    """
    written = json.dumps(text, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    changes = sum(one != other for one, other in pairwise(kinds(text)))
    whole = Length([written])
    assert whole.changes == changes
    assert whole.bytes <= len(text.encode("utf-8", "surrogatepass"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(least_tokens, "_WINDOW", window)
        cut = Length([written])
    assert cut.bytes == whole.bytes
    assert cut.changes <= changes


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("x" * TOKEN_BYTES * 3, 3),
        (" " * TOKEN_BYTES * 3, 3),
        ("a b" * TOKEN_CHANGES, 2),
        ("<|start_header_id|>" * 30, 10),
        ("a\n\n" * 30, 9),
        ("é" * 30, 0),
    ],
)
def test_some_texts(text: str, tokens: int) -> None:
    """Of one kind, and of several."""
    assert Length([json.dumps(text).encode()]).tokens == tokens


def test_texts_of_one_prompt() -> None:
    """Count together."""
    texts = [b'"a b a b"', b'"c d e f"']
    assert Length(texts).tokens == 2
    assert Length(texts[:1]).tokens == 1
