"""What commands print."""

from __future__ import annotations

import pytest

from runnerd.cli.tables import familiar, print_json, print_table


def test_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """As wide as their widest cell; nothing behind the last one."""
    print_table(("NAME", "SIZE"), [("a", 7), ("longer-name", None)])
    assert capsys.readouterr().out == "NAME         SIZE\na            7\nlonger-name  None\n"
    print_table(("NAME", "SIZE"), [])
    assert capsys.readouterr().out == "NAME  SIZE\n"


def test_a_row_too_short_is_a_mistake() -> None:
    """Not a table that is wrong."""
    with pytest.raises((ValueError, IndexError)):
        print_table(("NAME", "SIZE"), [("a",)])


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Other alphabets as they are."""
    print_json({"name": "ü"})
    assert capsys.readouterr().out == '{\n  "name": "ü"\n}\n'


@pytest.mark.parametrize(
    ("name", "shown"),
    [("ai/x:latest", "x"), ("ai/x:v1", "x:v1"), ("org/x:latest", "org/x"), ("ai/ai/x", "ai/x")],
)
def test_names(name: str, shown: str) -> None:
    """What people need not type is not shown."""
    assert familiar(name) == shown
