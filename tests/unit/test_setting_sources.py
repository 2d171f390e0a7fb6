"""Texts of environment variables as lists; how settings are loaded is in test_config."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.setting_sources import split_list


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("", []),
        ("a", ["a"]),
        (" a , 'b' ,, \"c\"", ["a", "b", "c"]),
        ('["a", 1]', ["a", 1]),
        ("[]", []),
        ("[::1]:5000", ["[::1]:5000"]),
        ("[::1],[::2]", ["[::1]", "[::2]"]),
        ("[", ["["]),
        ("[" * 5000, ["[" * 5000]),
    ],
)
def test_lists(text: str, entries: list[object]) -> None:
    """JSON where it is JSON, else what commas separate."""
    assert split_list(text) == entries


@given(st.text())
def test_any_text_is_a_list(text: str) -> None:
    """Nothing is more than entries."""
    assert isinstance(split_list(text), list)
