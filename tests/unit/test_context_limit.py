"""How many tokens a request and its response may have together."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from runnerd.errors import LimitReached
from runnerd.relay.operations import OPERATIONS
from runnerd.relay.plan import Plan
from runnerd.relay.request_rewrites.context_limit import within_context
from runnerd.scheduler import RunnerKey

CHATS = b"/v1/chat/completions"


def limited(document: dict[str, Any], context: int, path: bytes = CHATS) -> dict[str, Any]:
    body = json.dumps(document).encode()
    pieces = (body[:5], body[5:])
    changed: dict[str, Any] = json.loads(b"".join(within_context(pieces, path, context)))
    return changed


def chat(text: str, **more: object) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


def test_what_is_left_is_the_most_of_a_response() -> None:
    """Whatever the request says of it, and by whichever name; 40 bytes are ten tokens."""
    text = "x" * 36
    assert limited(chat(text), 100)["max_tokens"] == 90
    assert limited(chat(text, max_tokens=1000), 100)["max_tokens"] == 90
    assert limited(chat(text, max_tokens=-1), 100)["max_tokens"] == 90
    assert limited(chat(text, max_tokens=5), 100)["max_tokens"] == 5
    both = limited(chat(text, max_completion_tokens=500, n_predict=600), 100)
    assert (both["max_completion_tokens"], both["n_predict"]) == (90, 90)
    assert "max_tokens" not in both
    both = limited(chat(text, max_tokens=5, n_predict=1e5), 100)  # an engine takes that, too
    assert (both["max_tokens"], both["n_predict"]) == (5, 90)
    responses = limited({"input": text + "xxxx"}, 100, b"/v1/responses")
    assert responses["max_output_tokens"] == 90


def test_a_request_that_leaves_nothing() -> None:
    """It is refused, and the limit is named."""
    with pytest.raises(LimitReached, match="context of 10 tokens") as refused:
        limited(chat("x" * 100), 10)
    assert refused.value.limit == "context"
    assert refused.value.retry_after is None
    with pytest.raises(LimitReached):
        limited({"input": ["x" * 100]}, 10, b"/v1/embeddings")


def test_what_is_no_text_is_not_counted() -> None:
    """Images and sounds are bounded by limits of their own."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 10_000}}
    sound = {"type": "input_audio", "input_audio": {"data": "A" * 10_000, "format": "wav"}}
    document = {"messages": [{"role": "user", "content": [image, sound, {"text": "x"}]}]}
    assert limited(document, 100)["max_tokens"] > 90


def test_what_has_no_response_stays_as_it_is() -> None:
    """Embeddings within the limit keep the client's bytes."""
    body = (b'{"input": ', b'"x"}')
    assert within_context(body, b"/v1/embeddings", 10) == body


def test_what_is_asked_instead_has_the_limit_too() -> None:
    """An engine refuses a request, and is asked in other words: there are no more tokens in it."""
    first, second = json.dumps(chat("x")).encode(), json.dumps(chat("x", max_tokens=5000)).encode()
    plan = Plan(
        OPERATIONS["chat/completions"], cast(RunnerKey, "m"), "m", "m", (first,),
        streams=False, assembles=False, prompts=1, preload_only=False, origin=None,
        retry_with=lambda error: second if error["message"] == "shorter" else None,
    )  # fmt: skip
    other = plan.limited(100).otherwise({"message": "shorter"})
    assert other is not None
    assert 0 < json.loads(b"".join(other.body))["max_tokens"] < 100
    assert plan.limited(100).otherwise({"message": "no"}) is None
