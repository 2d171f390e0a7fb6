"""What can be typed about an installation."""

from __future__ import annotations

import argparse

import pytest

from runnerd.backends.llamacpp.building.options import add_options


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(exit_on_error=False)
    add_options(made)
    return made


def test_nothing_said_lets_the_host_decide(parser: argparse.ArgumentParser) -> None:
    """None, not a default that would count as somebody's word."""
    found = parser.parse_args([])
    assert (found.kind, found.engine_version, found.jobs, found.source) == (None,) * 4
    assert not found.portable
    assert not found.rebuild


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", ""])
def test_compilers_are_counted_from_one(parser: argparse.ArgumentParser, text: str) -> None:
    """Anything else is quoted."""
    with pytest.raises(argparse.ArgumentError, match="is not a number from 1 on"):
        parser.parse_args([f"--jobs={text}"])


def test_an_engine_of_another_version_is_not_the_daemons_version(
    parser: argparse.ArgumentParser,
) -> None:
    """`runnerd --version` prints that one."""
    found = parser.parse_args(["--with", "cpu", "--version", "0.3.1", "--jobs", "2"])
    assert (found.kind, found.engine_version, found.jobs) == ("cpu", "0.3.1", 2)
