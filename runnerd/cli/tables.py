"""What commands print: JSON as it came, or columns."""

from __future__ import annotations

import json
from collections.abc import Sequence


def print_json(document: object) -> None:
    """Print a document for programs."""
    print(json.dumps(document, indent=2, ensure_ascii=False))


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print columns for people."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    for row in cells:
        columns = zip(row, widths, strict=True)
        print("  ".join(cell.ljust(width) for cell, width in columns).rstrip())


def familiar(name: str) -> str:
    """Return a reference as people type it."""
    return name.removeprefix("ai/").removesuffix(":latest")
