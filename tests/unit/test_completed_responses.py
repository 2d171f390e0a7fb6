"""An engine's events of a response, as OpenAI's clients expect them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from runnerd.api.openai.completed_responses import CompletedResponse
from runnerd.relay.dialect import Limit
from runnerd.relay.events import StreamError

FINAL = {"id": "engine", "status": "completed", "usage": {"output_tokens": 3}}
ITEM = {"type": "message", "content": [{"type": "output_text", "text": "hi"}]}


def sent(*events: dict[str, Any]) -> bytes:
    """The engine's bytes."""
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (event["type"].encode(), msgspec.json.encode(event))
        for event in events
    )


def completed(output: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """The event that ends a response."""
    return {"type": "response.completed", "response": FINAL | {"output": output or []}}


def response(*, limit: int | None = None, streams: bool = False) -> CompletedResponse:
    """A response that is not kept."""
    return CompletedResponse({"model": "m"}, None, Limit(limit), streams=streams)


def test_the_whole_response() -> None:
    """It has an id of ours, what was asked for, and all that was said."""
    one = response()
    assert one.feed(sent(completed([ITEM]))) == b""
    document = msgspec.json.decode(one.end())
    assert document["id"].startswith("resp_")
    assert (document["model"], document["output_text"]) == ("m", "hi")
    assert document["usage"]["output_tokens_details"] == {"reasoning_tokens": 0}


@pytest.mark.parametrize(("limit", "status"), [(3, "incomplete"), (4, "completed")])
def test_a_response_that_was_cut(limit: int, status: str) -> None:
    """As many tokens as allowed: it is told as incomplete."""
    one = response(limit=limit)
    one.feed(sent(completed()))
    assert msgspec.json.decode(one.end())["status"] == status


def test_a_stream_ends_once() -> None:
    """One that lacks its last event is told as broken off."""
    one = response(streams=True)
    assert one.feed(sent({"type": "response.output_text.delta", "delta": "hi"}))
    with pytest.raises(StreamError):
        one.end()
