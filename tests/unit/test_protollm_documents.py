"""JSON of strangers as ProtoLLM's parts read it."""

from __future__ import annotations

import pytest

from runnerd.jobs.fleet.protollm.documents import read_document


def test_whole_characters() -> None:
    """Escaped or not, also as two surrogates, and what only Python's parser knows."""
    assert read_document(b'{"a": ["\\u00e9", "\\ud83d\\ude00"], "b": NaN}')["a"] == [
        "\u00e9",
        "\U0001f600",
    ]
    assert read_document('"\u00e9"'.encode()) == "\u00e9"


@pytest.mark.parametrize(
    "data", [b'{"a": ["\\ud800"]}', b'{"\\uDFFF": 1}', b'"\xed\xa0\x80"', b"[", b"\xff"]
)
def test_what_is_refused(data: bytes) -> None:
    """Half a character, wherever it is, and what is no JSON."""
    with pytest.raises(ValueError, match=r"."):
        read_document(data)


def test_too_deep() -> None:
    """The parser says so itself."""
    with pytest.raises(RecursionError):
        read_document(b"[" * 100_000)
