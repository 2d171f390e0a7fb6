"""What may be written to a terminal: colours unless NO_COLOR, and as many columns as it has."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator
from typing import IO


def coloured(stream: IO[str]) -> bool:
    """Whether colours and moving things may be written: to a terminal, unless NO_COLOR is set."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()


@contextlib.contextmanager
def spinner(text: str) -> Iterator[None]:
    """Turn a spinner beside `text` while something takes long; nothing where nobody looks."""
    if not sys.stderr.isatty() or not coloured(sys.stderr):
        yield
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status(escape(text)):
        yield


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
