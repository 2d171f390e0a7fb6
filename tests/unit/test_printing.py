"""How responses are shown where a program reads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runnerd.cli.chat.printing import printed, shown
from runnerd.cli.chat.response_events import Piece, StreamedChat
from runnerd.cli.client import Client


class _Says(StreamedChat):
    def __init__(self, *pieces: Piece) -> None:
        super().__init__(Client("unix:///nowhere"), {})
        self._pieces = pieces

    def pieces(self) -> Iterator[Piece]:
        self.usage = {"prompt_tokens": 12, "completion_tokens": 2}
        self.timings = {"cache_n": 8, "prompt_per_second": 100.0, "predicted_per_second": 7.25}
        yield from self._pieces


def test_a_program_reads_the_response_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """No reasoning, no colours, nothing about it."""
    chat = _Says(Piece("hm", reasoning=True), Piece("hel"), Piece("lo"))
    assert printed(chat, verbose=False) == "hello"
    assert capsys.readouterr() == ("hello\n", "")
    assert printed(_Says(), verbose=False) == ""
    assert capsys.readouterr() == ("\n", "")


def test_how_long_it_took(capsys: pytest.CaptureFixture[str]) -> None:
    """Beside the response, in the engine's figures."""
    printed(_Says(Piece("hello")), verbose=True)
    out, err = capsys.readouterr()
    assert out == "hello\n"
    assert "12 tokens, 8 of them known before, 100.0 tokens/s" in err
    assert "2 tokens, 7.2 tokens/s" in err


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a\n\tb ü 漢", "a\n\tb ü 漢"),
        ("\x1b]0;title\x07x", "]0;titlex"),
        ("\x1b[2Jx\r\x9b1m", "[2Jx1m"),
        ("a\u202eb", "ab"),
        ("👩\u200d💻", "👩\u200d💻"),
    ],
)
def test_nothing_in_a_response_is_a_command(text: str, seen: str) -> None:
    """To the terminal that shows it."""
    assert shown(text) == seen
