"""What is written in base64 is read as engines read it, however it is written."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest

from runnerd.errors import ClientError
from runnerd.relay.inline_content import inline_content

CONTENT = b"\x89PNG" + bytes(range(256)) * 3000  # in several pieces


def read(text: str, *, bare: bool = False) -> bytes:
    return inline_content(memoryview(f'"{text}"'.encode()), bare=bare)


@pytest.mark.parametrize("length", range(5))
def test_any_length(length: int) -> None:
    """To the last byte, with the signs that fill and without."""
    text = base64.b64encode(CONTENT[:length]).decode()
    assert read(text, bare=True) == read(text.rstrip("="), bare=True) == CONTENT[:length]


@pytest.mark.parametrize(
    "hidden",
    [
        lambda text: text.rstrip("=") + "!",
        lambda text: text.rstrip("=") + "!AAA",
        lambda text: text.replace("base64,i", "base64,\\u0069"),
        lambda text: text.replace("base64,", "base6\\u0034\\u002c"),
        lambda text: text.replace("data:;", "data:" + "x" * 200 + ";"),
        lambda text: text.replace("/", "\\/"),
        lambda text: text.replace("+", "-").replace("/", "_"),
        lambda text: "\\n".join(text[at : at + 76] for at in range(0, len(text), 76)),
    ],
)
def test_what_an_engine_reads_is_not_hidden(hidden: Callable[[str], str]) -> None:
    """Engines read JSON's escapes, take what stands behind the comma, and end at what is no
    letter: what they have read until then is there.
    """
    text = "data:;base64," + base64.b64encode(CONTENT).decode()
    assert read(hidden(text)).startswith(CONTENT[:-2])


def test_what_is_none() -> None:
    """No comma, and escapes of which no text can be made."""
    assert read("data:image/png") == b""
    with pytest.raises(ClientError):
        read("data:;base64,\\ud800")
