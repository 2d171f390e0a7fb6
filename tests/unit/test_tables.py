"""What commands print."""

from __future__ import annotations

import time

import pytest

from runnerd.cli.tables import familiar, moment, print_json, print_table, table


def test_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """As wide as their widest cell; nothing behind the last one."""
    print_table(("NAME", "SIZE"), [("a", 7), ("longer-name", None)])
    assert capsys.readouterr().out == "NAME         SIZE\na            7\nlonger-name  None\n"
    print_table(("NAME", "SIZE"), [])
    assert capsys.readouterr().out == "NAME  SIZE\n"


@pytest.mark.parametrize("width", [60, 200])
def test_tables_fit_their_terminal(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The widest columns are cut, and what is left out is marked; programs get everything."""
    row = ("a" * 50, "b" * 90, "c")
    print_table(("MODEL", "REMEDY", "N"), [row])
    assert "b" * 90 in capsys.readouterr().out
    monkeypatch.setattr("runnerd.cli.tables.columns", lambda stream: width)
    print_table(("MODEL", "REMEDY", "N"), [row])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    assert ("…" in lines[1]) == (width < 150)
    assert lines[1].rstrip().endswith("c")


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


def test_a_narrow_terminal() -> None:
    """Does without what it is said to do without, and then cuts what is widest."""
    head, rows = ("NAME", "ID", "WHAT"), [("a" * 20, "0123456789", "w" * 30)]
    assert table(head, rows)[1] == f"{'a' * 20}  0123456789  {'w' * 30}"
    assert table(head, rows, width=200) == table(head, rows)
    narrow = table(head, rows, width=52, spare=("ID",))
    assert narrow == [f"NAME{' ' * 18}WHAT", f"{'a' * 20}  {'w' * 30}"]
    cut = table(head, rows, width=30, spare=("ID",))
    assert [len(line) for line in cut][1] == 30
    assert cut[1].count("…") == 2
    assert len(table(head, rows, width=1)[1]) == 3 * 8 + 4


def test_cells_are_no_commands() -> None:
    """What a terminal would obey is left out, and a cell is one line."""
    assert table(("A",), [("x\x1b[2Jy\nz",)]) == ["A", "x [2Jy z"]


def test_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the zone of this host, to the second; nothing for none."""
    monkeypatch.setenv("TZ", "UTC-2")
    time.tzset()
    try:
        assert moment("2026-11-28T09:30:58.054Z") == "2026-11-28 11:30:58"
    finally:
        monkeypatch.undo()
        time.tzset()
    assert moment(None) == ""
