"""Texts of environment variables as lists; how settings are loaded is in test_config."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.config import Settings
from runnerd.setting_sources import split_list, unknown_variables


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


def test_variables_that_are_misspelt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is told with the one that was meant; those of the command line are none."""
    for name in list(os.environ):
        if name.startswith("RUNNERD_"):
            monkeypatch.delenv(name)
    for name in ("RUNNERD_LISTEN", "RUNNERD_HOST", "RUNNERD_LIMITS__IMAGES", "RUNNERD_DEBUG"):
        monkeypatch.setenv(name, "x")
    assert unknown_variables(Settings) == []
    monkeypatch.setenv("RUNNERD_LISTN", "x")
    monkeypatch.setenv("RUNNERD_QQQQQQQ", "x")
    monkeypatch.setenv("RUNNERD_LIMIT__IMAGES", "x")
    first, second, third = unknown_variables(Settings)
    assert first.startswith("RUNNERD_LIMIT__IMAGES is set")
    assert second.endswith("is RUNNERD_LISTEN meant?")
    assert third.endswith("`runnerd settings` lists them")
