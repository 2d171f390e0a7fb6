"""What may be written to a terminal."""

from __future__ import annotations

import io

import pytest

from runnerd.cli.terminal import coloured, columns, wrapped


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """On terminals that know them, unless NO_COLOR says something."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert coloured(_Terminal())
    assert not coloured(io.StringIO())
    monkeypatch.setenv("TERM", "dumb")
    assert not coloured(_Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not coloured(_Terminal())


def test_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """COLUMNS goes first; programs that read have no width."""
    monkeypatch.setenv("COLUMNS", "61")
    assert columns(_Terminal()) == 61
    assert columns(io.StringIO()) is None


def test_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between words, and below the last column; what is no terminal's stays as it is."""
    monkeypatch.setenv("COLUMNS", "24")
    text = "/set NAME   what is to be set\n    top_k   likely\n\nno columns at all, but wide"
    assert wrapped(text, io.StringIO()) == text
    assert wrapped(text, _Terminal()).splitlines() == [
        "/set NAME   what is to",
        "            be set",
        "    top_k   likely",
        "",
        "no columns at all, but",
        "wide",
    ]
