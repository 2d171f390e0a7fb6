"""The line editor of `runnerd run`, on a real screen (tmux)."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.support.chats import PROMPT, asks, command, leaves
from tests.support.daemon import DaemonProcess
from tests.support.tmux import Screen, screen

pytestmark = pytest.mark.engine


def test_several_lines(terminal: Screen) -> None:
    """Triple quotes hold a text of several lines, Ctrl-C drops the one that is being typed."""
    terminal.type('"""What is')
    terminal.awaits("...")
    asks(terminal, 'your name?"""', "Your name is Demo A.")
    terminal.press("n", "o")
    terminal.reads(f"{PROMPT}no")  # the prompt that is awaited next is another one
    terminal.press("C-c")
    terminal.awaits(PROMPT)
    assert leaves(terminal) == 0


def test_what_is_pasted_is_one_text(terminal: Screen) -> None:
    """Line ends of a pasted text do not send it line by line."""
    terminal.paste("What is\nyour name?")
    terminal.reads("your name?")
    terminal.press("Enter")
    terminal.reads("Demo A.")
    terminal.awaits(PROMPT)
    assert terminal.text().count(">>>") == 2
    assert leaves(terminal) == 0


def test_tab_completes_commands(terminal: Screen) -> None:
    """As far as they are the only ones."""
    terminal.press("/", "h", "e", "Tab")
    terminal.reads(">>> /help")
    terminal.press("Enter")
    terminal.reads("stops a response")
    terminal.awaits(PROMPT)
    assert leaves(terminal) == 0


def test_the_history_is_the_users_alone(
    terminal: Screen, chatty: DaemonProcess, tmp_path: Path
) -> None:
    """What was typed is kept in a file that nobody else can read, and is there the next time."""
    asks(terminal, "Who are you?", "I am Demo A, a small demo model served by runnerd.")
    assert leaves(terminal) == 0
    file = tmp_path / "runnerd" / "history"
    assert "Who are you?" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with screen(command(chatty, "demo-a"), {"XDG_STATE_HOME": str(tmp_path)}) as again:
        again.awaits(PROMPT)
        again.press("Up")
        again.reads(">>> Who are you?")
