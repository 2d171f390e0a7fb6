"""The help of `runnerd`: every command in one group."""

from __future__ import annotations

from collections import Counter

from runnerd.cli.arguments import make_parser
from runnerd.cli.command_groups import GROUPS, HIDDEN, TopParser


def commands() -> set[str]:
    parser = make_parser()
    assert isinstance(parser, TopParser)
    return set(parser._commands())


def test_each_command_is_in_one_group() -> None:
    """A new one has to say what it is for."""
    grouped = Counter(name for names in GROUPS.values() for name in names.split())
    assert set(grouped.values()) == {1}
    assert set(grouped) == commands() - HIDDEN


def test_help_lists_them() -> None:
    """All but those that are for scripts, each with what it does."""
    told = make_parser().format_help()
    listed = {line.split()[0] for line in told.splitlines() if line.startswith("  ")}
    assert commands() - HIDDEN <= listed
    assert not HIDDEN & listed
    assert told.startswith("usage: runnerd")
