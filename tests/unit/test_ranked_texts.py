"""Rankings with the texts of their documents."""

from __future__ import annotations

import json

import msgspec
import pytest

from runnerd.relay.events import StreamError
from runnerd.relay.response_adapters.ranked_texts import RankedTexts, texts_wanted


def test_each_entry_has_its_text() -> None:
    """Whatever the order and the pieces in which it comes."""
    ranking = RankedTexts(["a", "b"])
    for piece in (b'{"results":[{"index":1},', b'{"index":0,"relevance_score":2}]}'):
        assert ranking.feed(piece) == b""
    first, second = json.loads(ranking.end())["results"]
    assert first == {"index": 1, "document": {"text": "b"}}
    assert second["document"] == {"text": "a"}


@pytest.mark.parametrize(
    ("wanted", "documents"),
    [(b"false", b'["a"]'), (b"", b'["a"]'), (b"true", b"[5]"), (b"1", b"[]")],
)
def test_when_nothing_is_completed(wanted: bytes, documents: bytes) -> None:
    """Nobody asks for the texts, or they are none."""
    assert texts_wanted(msgspec.Raw(wanted), msgspec.Raw(documents)) is None


@pytest.mark.parametrize("data", [b"", b"{}", b'{"results":[{}]}', b'{"results":[{"index":9}]}'])
def test_response_that_is_no_ranking(data: bytes) -> None:
    """The engine's mistake is told as one."""
    ranking = RankedTexts(["a"])
    ranking.feed(data)
    with pytest.raises(StreamError):
        ranking.end()
