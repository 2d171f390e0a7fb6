"""What commands print: JSON as it came, or columns that fit the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime

from runnerd.cli.terminal import columns, wrapped

_BETWEEN = 2  # spaces
_LEAST = 8  # letters that a cell keeps where the terminal is narrow


def print_json(document: object) -> None:
    """Print a document for programs."""
    print(json.dumps(document, indent=2, ensure_ascii=False))


def print_items(items: Sequence[str], *, as_json: bool) -> None:
    """Print texts, one a line, or as JSON."""
    if as_json:
        print_json(list(items))
    else:
        print("\n".join(items))


def print_table(
    head: Sequence[str], rows: Sequence[Sequence[object]], *, spare: Sequence[str] = ()
) -> None:
    """Print columns for people.

    Where a terminal is too narrow the columns in `spare` are left out, the first of them first,
    and then the widest are cut.
    """
    for line in table(head, rows, width=columns(sys.stdout), spare=spare):
        print(line)


def print_fields(fields: Mapping[str, object]) -> None:
    """Print what is known of one thing for people, a line each; what is empty is left out."""
    there = {name: str(value) for name, value in fields.items() if value not in (None, "")}
    width = max(map(len, there), default=0) + 1
    for name, value in there.items():
        lines = [printable(line) for line in value.splitlines()] or [""]
        below = "\n".join(" " * (width + _BETWEEN) + line for line in lines[1:])
        first = f"{name + ':':{width}}{' ' * _BETWEEN}{lines[0]}"
        print(wrapped(first, sys.stdout) + (f"\n{below}" if below else ""))


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    width: int | None = None,
    spare: Sequence[str] = (),
) -> list[str]:
    """The lines of a table, no wider than `width` unless each column is as narrow as it can be."""
    cells = [[printable(str(cell)) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    shown = list(range(len(head)))
    for name in spare:
        if width is None or _total(widths, shown) <= width:
            break
        shown = [column for column in shown if head[column] != name]
    while width is not None and _total(widths, shown) > width:
        widest = max(shown, key=lambda column: widths[column])
        if widths[widest] <= _LEAST:
            break
        widths[widest] -= 1
    lines = []
    for row in cells:
        if len(row) != len(head):
            raise ValueError(f"{len(row)} cells in a table of {len(head)} columns")
        parts = (cut(row[column], widths[column]).ljust(widths[column]) for column in shown)
        lines.append((" " * _BETWEEN).join(parts).rstrip())
    return lines


def cut(text: str, width: int) -> str:
    """A text in so many letters: its end is left out where it is longer."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def printable(text: str) -> str:
    """A text in one line without what a terminal would take for a command."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def _total(widths: Sequence[int], shown: Sequence[int]) -> int:
    return sum(widths[column] for column in shown) + _BETWEEN * max(0, len(shown) - 1)


def moment(text: str | None) -> str:
    """A time of the API as a person of this host reads it: in their zone, without fractions."""
    if not text:
        return ""
    return f"{datetime.fromisoformat(text).astimezone():%Y-%m-%d %H:%M:%S}"


def familiar(name: str) -> str:
    """A model's name as people type it, and as every command shows it to them."""
    return name.removeprefix("ai/").removesuffix(":latest")
