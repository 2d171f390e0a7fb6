"""The lines that were typed into `runnerd run`, kept for the next time.

They may be private: the file is the user's alone, and RUNNERD_NOHISTORY=1 keeps none.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_LINES = 1000


@contextlib.contextmanager
def line_history() -> Iterator[None]:
    """Give input() line editing and a history for the length of a with block."""
    try:
        import readline
    except ImportError:  # a Python built without it
        yield
        return
    file = _file()
    readline.set_history_length(_LINES)
    if file is not None:
        with contextlib.suppress(OSError):
            readline.read_history_file(file)
    try:
        yield
    finally:
        if file is not None:
            with contextlib.suppress(OSError):  # no reason to fail at the end of a conversation
                file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                file.touch(mode=0o600)
                file.chmod(0o600)
                readline.write_history_file(file)


def _file() -> Path | None:
    if os.environ.get("RUNNERD_NOHISTORY"):
        return None
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "runnerd" / "history"
