"""What a conversation has the daemon do with models, on a real screen (tmux)."""

from __future__ import annotations

import pytest

from tests.support.chats import asks, command, leaves
from tests.support.daemon import DaemonProcess
from tests.support.tmux import Screen, screen

pytestmark = pytest.mark.engine


def test_a_conversation_is_saved_and_gone_on_with(terminal: Screen, chatty: DaemonProcess) -> None:
    """/save keeps what was said in a model of the same weights; /load goes on with it."""
    asks(terminal, "My favourite colour is turquoise.", "I will remember your colour.")
    asks(terminal, "/save talk", "saved as talk")
    asks(terminal, "/load demo-a", "/load demo-a")
    asks(terminal, "/set temperature 0", "temperature = 0")
    question = "What is my favourite colour?"
    asks(terminal, question, "You have not told me your favourite colour.")
    asks(terminal, "/load talk", "/load talk")
    asks(terminal, question, "Your favourite colour is turquoise.")
    assert leaves(terminal) == 0
    assert chatty.http.delete("/models/talk").status_code == 200


def test_a_wrong_name_is_told_before_anything_is_typed(chatty: DaemonProcess) -> None:
    """Whoever wants no pull ends with the daemon's reason; whoever does gets the pull's."""
    for reply, said in (("n", "Pull nobody?"), ("y", "runnerd: ")):
        with screen(command(chatty, "nobody"), {}) as terminal:
            terminal.reads("Pull nobody? [Y/n]")
            assert "model 'nobody' not found" in terminal.text()
            terminal.type(reply)
            assert terminal.ended() == 1
            assert said in terminal.text()
