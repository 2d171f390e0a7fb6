"""A conversation with demo-a on a terminal."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.daemon import DaemonProcess
from tests.support.tmux import Screen

DEMO = Path(__file__).parents[2] / "demo" / "demo-a.gguf"
PROMPT = ">>> "


def command(daemon: DaemonProcess, *arguments: str) -> list[str]:
    """`runnerd run`, of this daemon."""
    return [sys.executable, "-m", "runnerd", "--host", f"unix://{daemon.socket}", "run", *arguments]


def asks(terminal: Screen, text: str, response: str) -> None:
    """Type a line and wait for the response and the next prompt."""
    terminal.type(text)
    terminal.reads(response)
    terminal.awaits(PROMPT)


def leaves(terminal: Screen) -> int:
    """Type Ctrl-D and return the exit status."""
    terminal.press("C-d")
    return terminal.ended()
