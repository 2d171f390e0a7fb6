"""Whether a piece of a stream has its last event."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.relay.last_event import has_last_event

DONE = b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    ("piece", "last"),
    [
        (DONE, True),
        (b'data: {"a":1}\n\n' + DONE, True),
        (b"e\r\n" + DONE + b"\r\n", True),
        (b"data: [DONE]\r\n\r\n", True),
        (b'event: message_stop\ndata: {"type":"message_stop"}\n\n', True),
        (b'event: response.completed\ndata: {"type":"response.completed"}\n\n', True),
        (DONE[:-1], False),
        (b'event: message_stop\ndata: {"type":"message_stop"}\n', False),
        (b"x" + DONE, False),
        (b"", False),
    ],
)
def test_the_end_of_a_stream(piece: bytes, last: bool) -> None:
    """It has to begin a line, and to be whole."""
    assert has_last_event(piece) is last


@given(st.text() | st.sampled_from(["\ndata: [DONE]\n\n", "\nevent: message_stop\n\n"]))
def test_no_text_is_an_end(text: str) -> None:
    """Whatever a model writes."""
    assert not has_last_event(b"data: " + json.dumps({"content": text}).encode() + b"\n\n")
