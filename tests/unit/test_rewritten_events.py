"""Events that are turned into others on their way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from runnerd.relay.events import StreamError
from runnerd.relay.response_adapters.rewritten_events import RewrittenEvents


class Collected:
    """A translation that passes everything on."""

    streams = True
    content_type = b""

    def feed(self, data: bytes) -> bytes:
        return data

    def end(self) -> bytes:
        return b"|end"


class Doubled(RewrittenEvents):
    """Says every event twice, and those with `gone` not at all."""

    def rewritten(self, event: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if "gone" not in event:
            yield event
            yield {**event, "type": "again"}


STREAM = (
    b'data: {"n":1}\n\n: a comment\n\nevent: first\ndata: {"type":"first"}\n\n'
    b'data: {"gone":1}\n\ndata: [DONE]\n\n'
)


@pytest.mark.parametrize("size", [1, 7, len(STREAM)])
def test_each_event_by_itself(size: int) -> None:
    """However it is cut: a name follows the new event, and only where the old one had one."""
    events = Doubled(Collected())
    told = b"".join(
        events.feed(STREAM[start : start + size]) for start in range(0, len(STREAM), size)
    )
    blocks = [block for block in told.decode().split("\n\n") if block]
    assert [json.loads(block.removeprefix("data: ")) for block in blocks[:2]] == [
        {"n": 1},
        {"n": 1, "type": "again"},
    ]
    assert blocks[-3:-1] == [
        'event: first\ndata: {"type":"first"}',
        'event: again\ndata: {"type":"again"}',
    ]
    assert blocks[-1] == "data: [DONE]"
    assert events.end() == b"|end"


def test_an_error_in_the_stream() -> None:
    """It is raised, whatever the events are turned into."""
    with pytest.raises(StreamError, match="no memory"):
        Doubled(Collected()).feed(b'data: {"error": {"message": "no memory"}}\n\n')
