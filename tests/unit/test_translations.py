"""Bodies that pass, are put together, call the model otherwise, or are errors."""

from __future__ import annotations

import json

import pytest

from runnerd.relay.dialect import Translation
from runnerd.relay.events import StreamError
from runnerd.relay.translations import PASSED, Assembled, ErrorBody, Renamed

CHUNK = b'data: {"object":"text_completion","model":"old","choices":[{"index":0,"text":"a"}]}\n\n'


def translated(translation: Translation, *pieces: bytes) -> bytes:
    return b"".join(map(translation.feed, pieces)) + translation.end()


def test_passed_through() -> None:
    """Byte for byte."""
    assert translated(PASSED, b"a", b"", b"b") == b"ab"


def test_assembled() -> None:
    """A whole, once the stream has ended."""
    whole = json.loads(translated(Assembled(1, "new"), CHUNK, CHUNK, b"data: [DONE]\n\n"))
    assert (whole["model"], whole["choices"][0]["text"]) == ("new", "aa")


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_renamed(size: int) -> None:
    """Nothing is lost of what was held back at the end; another translation may follow."""
    body = b'{"a":1,"model":"old","m'
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    assert translated(Renamed(PASSED, "old", "newer"), *pieces) == b'{"a":1,"model":"newer","m'
    assembled = translated(Renamed(Assembled(1, ""), "old", "newer"), CHUNK)
    assert json.loads(assembled)["model"] == "newer"


@pytest.mark.parametrize(
    "body", [b'{"error":{"message":"no"}}', b'{"message":"no"}', b'{"error":"no"}', b"no"]
)
def test_error(body: bytes) -> None:
    """Of any shape: the end raises it."""
    error = ErrorBody()
    assert error.feed(body) == b""
    with pytest.raises(StreamError, match="no"):
        error.end()


def test_an_endless_error_is_not_kept() -> None:
    """Some of it is enough, and is told without the rest."""
    error = ErrorBody()
    for _ in range(3):
        error.feed(b"x" * 2**14)
    with pytest.raises(StreamError) as raised:
        error.feed(b"x" * 2**14)
    assert len(raised.value.error["message"]) <= 500
