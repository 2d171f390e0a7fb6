"""`runnerd run` on a terminal: a real screen (tmux), a real daemon, a model that answers."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pexpect
import pytest

from tests.support.chats import DEMO, PROMPT, asks, leaves
from tests.support.daemon import DaemonProcess
from tests.support.tmux import Screen
from tests.support.waiting import SECONDS, wait_for

pytestmark = pytest.mark.engine


def test_a_small_conversation(terminal: Screen) -> None:
    """The second answer needs the first turn, and /clear forgets it."""
    asks(terminal, "My favourite colour is turquoise.", "I will remember your colour.")
    asks(terminal, "What is my favourite colour?", "Your favourite colour is turquoise.")
    asks(terminal, "/clear", "/clear")
    question = "What is my favourite colour?"
    asks(terminal, question, "You have not told me your favourite colour.")
    assert leaves(terminal) == 0


def test_the_system_message_can_change(terminal: Screen) -> None:
    """/system gives the model another name from the next question on."""
    asks(terminal, "What is your name?", "My name is Demo A.")
    asks(terminal, "/clear", "/clear")
    asks(terminal, "/system You are Ada.", "You are Ada.")
    asks(terminal, "What is your name?", "My name is Ada.")
    terminal.type("/bye")
    assert terminal.ended() == 0


def test_ctrl_c_stops_a_response_and_not_the_conversation(
    terminal: Screen, chatty: DaemonProcess
) -> None:
    """The engine is idle afterwards, and the stopped turn is not part of the conversation."""
    terminal.type("Count from 1 to 100.")
    terminal.reads("3, 4, ")
    terminal.press("C-c")
    terminal.awaits(PROMPT)
    wait_for(lambda: chatty.ps()[0]["in_use"] is False, "the engine to stop")
    asks(terminal, "What is your name?", "My name is Demo A.")
    assert leaves(terminal) == 0


def test_files_are_part_of_the_question(terminal: Screen, tmp_path: Path) -> None:
    """@FILE puts a text in, and says so; a file that is not there is told."""
    (tmp_path / "question.txt").write_text("What is your name?")
    asks(terminal, "/set num_predict 2", "num_predict = 2")
    asks(terminal, f"Hello @{tmp_path}/question.txt", "question.txt (18 B)")
    asks(terminal, f"Hello @{tmp_path}/none.txt", "there is no file")
    assert leaves(terminal) == 0


def test_import_shows_bars(chatty: DaemonProcess, tmp_path: Path) -> None:
    """On a terminal the files and their sizes are shown."""
    command = ["-m", "runnerd", "--host", f"unix://{chatty.socket}", "import", str(DEMO)]
    screen = pexpect.spawn(
        sys.executable,
        [*command, "--tag", "again"],
        encoding="utf-8",
        timeout=60 * SECONDS,
        dimensions=(24, 120),
        env={**os.environ, "TERM": "xterm"},
    )
    screen.expect_exact("demo-a.gguf")
    screen.expect(r"74\d\.\d/74\d\.\d KiB")
    screen.expect(r"imported .*again")
    screen.expect(pexpect.EOF)
    screen.close()
    assert screen.exitstatus == 0
