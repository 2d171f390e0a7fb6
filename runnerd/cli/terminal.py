"""What may be written to a terminal: colours unless NO_COLOR, and as many columns as it has."""

from __future__ import annotations

import os
import shutil
from typing import IO


def coloured(stream: IO[str]) -> bool:
    """Whether colours and moving things may be written: to a terminal, unless NO_COLOR is set."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()


def columns(stream: IO[str]) -> int | None:
    """How wide a terminal is (COLUMNS goes first), None where no person reads."""
    if not stream.isatty():
        return None
    return shutil.get_terminal_size().columns
