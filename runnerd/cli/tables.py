"""What commands print: JSON as it came, or columns."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from runnerd.cli.terminal import columns

_GAP = "  "


def print_json(document: object) -> None:
    """Print a document for programs."""
    print(json.dumps(document, indent=2, ensure_ascii=False))


def print_items(items: Sequence[str], *, as_json: bool) -> None:
    """Print texts, one a line, or as JSON."""
    if as_json:
        print_json(list(items))
    else:
        print("\n".join(items))


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print columns for people; on a terminal they are cut to its width.

    A program that reads gets every cell whole.
    """
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    if (most := columns(sys.stdout)) is not None:
        widths = fitting(widths, [len(title) for title in head], most - len(_GAP) * len(head))
    for row in cells:
        line = [cut(cell, width).ljust(width) for cell, width in zip(row, widths, strict=True)]
        print(_GAP.join(line).rstrip())


def fitting(widths: Sequence[int], least: Sequence[int], most: int) -> list[int]:
    """Widths of columns that are no wider than `most` in all, the widest ones cut first.

    None becomes narrower than its title, so a very narrow terminal folds lines.
    """
    found = list(widths)
    while sum(found) > most:
        spare = [width if width > low else 0 for width, low in zip(found, least, strict=True)]
        if not any(spare):
            break
        found[spare.index(max(spare))] -= 1
    return found


def cut(text: str, width: int) -> str:
    """A text of at most so many letters; what is left out is an ellipsis."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def familiar(name: str) -> str:
    """Return a reference as people type it."""
    return name.removeprefix("ai/").removesuffix(":latest")
