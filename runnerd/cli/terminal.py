"""What may be written to a terminal: colours unless NO_COLOR, and as many columns as it has."""

from __future__ import annotations

import os
import re
import shutil
import textwrap
from typing import IO


def coloured(stream: IO[str]) -> bool:
    """Whether colours and moving things may be written: to a terminal, unless NO_COLOR is set."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()


def wrapped(text: str, stream: IO[str]) -> str:
    """Lines no wider than a terminal: what does not fit goes on below its last column.

    The last column begins after the last run of two or more spaces.
    """
    if (width := columns(stream)) is None:
        return text
    lines = []
    for line in text.splitlines():
        indent = max((gap.end() for gap in re.finditer(r"  +", line)), default=0)
        if indent > width // 2:
            indent = 0
        lines += textwrap.wrap(
            line, width, subsequent_indent=" " * indent, break_on_hyphens=False,
            replace_whitespace=False, drop_whitespace=True,
        ) or [""]  # fmt: skip
    return "\n".join(lines)


def columns(stream: IO[str]) -> int | None:
    """How wide a terminal is (COLUMNS goes first), None where no person reads."""
    if not stream.isatty():
        return None
    return shutil.get_terminal_size().columns
