"""runnerd.relay.request_rewrites.retry_rewrites: what is asked again, and what is not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runnerd.relay.request_rewrites.retry_rewrites import rewritten

CHAT = {"model": "m", "messages": [{"role": "user", "content": "a"}]}


def again(message: str, document: dict[str, Any]) -> Any:
    found = rewritten((json.dumps(document).encode(),), {"message": message})
    return None if found is None else json.loads(b"".join(found))


def test_an_image_that_was_lost_is_evaluated_anew() -> None:
    """Once: what is refused for it again stays refused."""
    body = (json.dumps(CHAT).encode(),)
    error = {"message": "mtmd: Chunk not found"}
    other = rewritten(body, error)
    assert other is not None
    assert json.loads(b"".join(other)) == {**CHAT, "cache_prompt": False}
    assert rewritten(other, error) is None


def test_calls_that_are_not_all_there_are_made_readable() -> None:
    """Of what else is told in these words nothing is changed."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1'}}
    said = [*CHAT["messages"], {"role": "assistant", "content": None, "tool_calls": [call]}]
    found = again("Failed to parse tool call arguments as JSON", {**CHAT, "messages": said})
    arguments = found["messages"][1]["tool_calls"][0]["function"]["arguments"]
    assert isinstance(json.loads(arguments), dict)
    assert again("[json.exception.type_error.302]", CHAT) is None


@pytest.mark.parametrize("message", ["", "the prompt is too long", "Chunk not found here"])
def test_any_other_refusal_stands(message: str) -> None:
    """The client hears the engine's own words."""
    assert again(message, CHAT) is None
