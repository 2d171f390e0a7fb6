"""What can be typed in a conversation beside questions, on a real screen (tmux)."""

from __future__ import annotations

import pytest

from tests.support.chats import asks, leaves
from tests.support.tmux import Screen

pytestmark = pytest.mark.engine


def test_settings_are_shown_and_set(terminal: Screen) -> None:
    """/set, /show and /help explain themselves, mistakes are told and change nothing."""
    asks(terminal, "/help", "forget the conversation")
    asks(terminal, "/set", "/set parameter NAME VALUE")
    asks(terminal, "/set top_k 5", "top_k = 5")
    asks(terminal, "/set parameter num_predict 3", "num_predict = 3")
    asks(terminal, "/set temperatur 1", "did you mean temperature?")
    asks(terminal, "/set seed many", "seed takes a whole number")
    asks(terminal, "/set verbose", "/set verbose")
    asks(terminal, "Count from 1 to 100.", "time to first token:")
    asks(terminal, "/show", "max_tokens:   3")
    asks(terminal, "/show info", "completion")
    assert leaves(terminal) == 0


def test_a_slash_that_is_no_command_is_text(terminal: Screen) -> None:
    """It reaches the model; what is nearly a command is named."""
    asks(terminal, "/set num_predict 2", "num_predict = 2")
    asks(terminal, "/etc/hosts has what in it?", "/etc/hosts has what")
    asks(terminal, "/claer", "/clear is one")
    asks(terminal, "/unheard", "/unheard is no command and is sent as text; /help shows them")
    asks(terminal, "/show", "said so far:  6 messages")
    assert leaves(terminal) == 0
