"""A session's prompt as a request, and the response to it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.errors import BackendFailure, ClientError
from runnerd.sessions.prompts import Delta, ResponseText, check_parameters, request_for
from runnerd.sessions.session import Prompt, Session, SessionKind, Turn

CHAT = Session("s", "me", "sha256:0", "a", system="Be brief.", parameters={"seed": 1, "top_k": 2})
TURNS = [Turn("s", 1, "Hi", "Hello!", 0.0, reasoning="hm"), Turn("s", 2, "Why?", "So.", 0.0)]


def body_of(
    session: Session, parameters: dict[str, Any], parts: str = ""
) -> tuple[str, dict[str, Any]]:
    path, body = request_for(session, TURNS, Prompt("And?", parameters, parts=parts))
    return path, json.loads(body)


def test_a_chat_says_all_messages() -> None:
    """What the model has thought is not said again; the prompt's parameters come first."""
    path, body = body_of(CHAT, {"seed": 3})
    assert path == "/v1/chat/completions"
    assert [message["content"] for message in body["messages"]] == [
        "Be brief.", "Hi", "Hello!", "Why?", "So.", "And?"
    ]  # fmt: skip
    roles = [message["role"] for message in body["messages"]]
    assert roles == ["system", *["user", "assistant"] * 2, "user"]
    assert (body["model"], body["seed"], body["top_k"], body["stream"]) == ("sha256:0", 3, 2, True)


def test_parts_are_said_as_they_came() -> None:
    """In the prompt and in turns; a text has no place for them."""
    turn = Turn("s", 1, "Hi", "Hello!", 0.0, parts='[{"type": "text", "text": "Hi"}]')
    parts = [{"type": "image_url", "image_url": {"url": "data:,"}}]
    said = Prompt("", parts=json.dumps(parts))
    messages = json.loads(request_for(CHAT, [turn], said).body)["messages"]
    assert messages[1]["content"] == [{"type": "text", "text": "Hi"}]
    assert messages[3]["content"] == parts
    text = Session("s", "me", "sha256:0", "a", kind=SessionKind.TEXT)
    with pytest.raises(ClientError, match="kind chat"):
        request_for(text, [], said)


def test_a_text_is_what_was_written() -> None:
    """Nothing stands between prompts and responses."""
    session = Session("s", "me", "sha256:0", "a", kind=SessionKind.TEXT, system="Be brief.")
    path, body = body_of(session, {"stop": ["x"]})
    assert path == "/v1/completions"
    assert body["prompt"] == "Be brief.HiHello!Why?So.And?"
    assert body["stop"] == ["x"]


@pytest.mark.parametrize("name", ["model", "messages", "stream", "n", "id_slot"])
def test_what_a_session_says_itself_is_no_parameter(name: str) -> None:
    """It is refused by its name; so is what is too large."""
    with pytest.raises(ClientError, match=name):
        check_parameters({name: 1})
    with pytest.raises(ClientError, match="bytes"):
        check_parameters({"stop": "x" * 2**16})
    check_parameters({"temperature": 0})


def chunk(**more: Any) -> bytes:
    return b"data: " + json.dumps(more).encode() + b"\n\n"


STREAM = (
    chunk(choices=[{"delta": {"role": "assistant", "content": None}}])
    + chunk(choices=[{"delta": {"reasoning_content": "Hm."}}])
    + chunk(choices=[{"delta": {"content": "Hé"}}])
    + b": a comment\n\n"
    + chunk(choices=[{"text": "llo"}])
    + chunk(choices=[{"delta": {}, "finish_reason": "stop"}])
    + chunk(choices=[], usage={"prompt_tokens": 9, "completion_tokens": 3,
                               "prompt_tokens_details": {"cached_tokens": 7}})
    + b"data: [DONE]\n\n"
)  # fmt: skip


@given(st.lists(st.integers(0, len(STREAM))))
def test_a_response_comes_in_any_pieces(cuts: list[int]) -> None:
    """And is the same however it was cut."""
    said, told = ResponseText(), list[Delta]()
    places = [0, *sorted(cuts), len(STREAM)]
    for begin, end in zip(places, places[1:], strict=False):  # noqa: RUF007
        assert not said.ended or said.finish_reason == "stop"
        if (delta := said.feed(STREAM[begin:end])) is not None:
            told.append(delta)
    assert "".join(delta.text for delta in told) == said.text == "Héllo"
    assert "".join(delta.reasoning for delta in told) == said.reasoning == "Hm."
    assert said.ended
    assert (said.prompt_tokens, said.cached_tokens, said.completion_tokens) == (9, 7, 3)


@pytest.mark.parametrize("data", [chunk(error={"message": "out of memory"}), b"data: {x\n\n"])
def test_an_error_in_the_stream_is_one(data: bytes) -> None:
    """Whatever was said before it."""
    with pytest.raises(BackendFailure):
        ResponseText().feed(data)
