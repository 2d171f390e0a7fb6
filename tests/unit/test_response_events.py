"""What a streamed chat sends."""

from __future__ import annotations

import io
from typing import Any

import pytest

from runnerd.cli.chat.response_events import Piece, StreamedChat
from runnerd.cli.client import Client
from runnerd.errors import RunnerdError


class _Sends(Client):
    """A daemon that sends these bytes."""

    def __init__(self, data: bytes) -> None:
        super().__init__("unix:///nowhere")
        self._data = data

    def open(self, *_: Any, **__: Any) -> Any:
        return io.BufferedReader(io.BytesIO(self._data), 7)


def test_pieces_and_figures() -> None:
    """Reasoning and content in their order; timings and usage once it has ended."""
    chat = StreamedChat(
        _Sends(
            b'data: {"choices":[{"delta":{"reasoning_content":"hm"}}]}\n\n'
            b": ping\n\n"
            b'data: {"choices":[{"delta":{"content":"hello"}}]}\n\n'
            b'data: {"choices":[],"usage":{"prompt_tokens":3},"timings":{"prompt_n":2}}\n\n'
            b"data: [DONE]\n\n"
        ),
        {},
    )
    assert list(chat.pieces()) == [Piece("hm", reasoning=True), Piece("hello")]
    assert (chat.usage, chat.timings) == ({"prompt_tokens": 3}, {"prompt_n": 2})


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'data: {"choices":[{"delta":{"content":"hel"}}]}\n\n', "broke off"),
        (b'data: {"error":{"message":"the engine ended"}}\n\n', "the engine ended"),
    ],
)
def test_a_response_that_does_not_end(data: bytes, reason: str) -> None:
    """It is told, with the daemon's reason where there is one."""
    with pytest.raises(RunnerdError, match=reason):
        list(StreamedChat(_Sends(data), {}).pieces())
