"""What may be written to a terminal."""

from __future__ import annotations

import io

import pytest

from runnerd.cli.terminal import coloured, columns


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
