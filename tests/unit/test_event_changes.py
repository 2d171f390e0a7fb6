"""Responses with something changed in their choices, as a stream and whole."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runnerd.relay.events import StreamError, written
from runnerd.relay.response_adapters.event_changes import ChangedStream


class Louder:
    """Changes texts; events without one are none of its business."""

    def concerns(self, event: bytes) -> bool:
        return b'"text"' in event

    def change(self, document: dict[str, Any]) -> None:
        for choice in document["choices"]:
            choice["text"] = choice["text"].upper()


def test_only_what_it_concerns_is_read() -> None:
    """Anything else keeps its bytes, also where these are no JSON; null is taken out."""
    stream = ChangedStream(Louder())
    odd = b'data: { "other" : 1 }\n\n'
    plain = b'data: {"choices":[{"text":"a"}]}\n\n'
    found = stream.feed(odd + plain + b"data: null\n\ndata: [DONE]\n\n")
    assert found == odd + written({"choices": [{"text": "A"}]}) + b"data: [DONE]\n\n"


def test_an_event_in_pieces_comes_when_it_is_whole() -> None:
    """And what the engine has left of one at its end is passed on as it is."""
    stream = ChangedStream(Louder())
    assert stream.feed(b'data: {"choices":[{"te') == b""
    assert json.loads(stream.feed(b'xt":"b"}]}\n\ndata: x')[6:]) == {"choices": [{"text": "B"}]}
    assert stream.end() == b"data: x"


def test_an_error_in_the_stream_ends_it() -> None:
    """It is no response whose choices could be changed."""
    with pytest.raises(StreamError) as found:
        ChangedStream(Louder()).feed(b'data: {"error":{"message":"no \\"text\\""},"text":1}\n\n')
    assert found.value.error == {"message": 'no "text"'}
