"""How the response to a prompt is read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runnerd.errors import BackendFailure
from runnerd.jobs.job import Prompt, Response
from runnerd.jobs.prompt_reading import reading_of, text_of

CHAT = "/v1/chat/completions"


def prompt(path: str = CHAT, **body: Any) -> Prompt:
    return Prompt(path, json.dumps({"model": "m", **body}).encode())


def event(document: object) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def piece(text: str, index: int = 0) -> bytes:
    choice = {"index": index, "delta": {"content": text}, "finish_reason": None}
    return event({"object": "chat.completion.chunk", "created": 1, "choices": [choice]})


def test_a_stream() -> None:
    """Its text as it comes, of the first choice, and the whole response in the end."""
    reading = reading_of(prompt(stream=False), streams=True)
    assert json.loads(reading.body)["stream"] is True
    assert [reading.feed(each) for each in (piece("a"), piece("x", 1), piece("b"))] == [
        "a",
        "",
        "b",
    ]
    assert reading.feed(b"data: [DONE]\n\n") == ""
    response = reading.response(200, "text/event-stream")
    document = json.loads(response.body)
    assert document["object"] == "chat.completion"
    assert document["choices"][0]["message"]["content"] == "ab"
    assert (response.content_type, text_of(response)) == ("application/json", "ab")


def test_a_whole_response() -> None:
    """As it comes; nobody is there for a stream that a prompt asks for."""
    reading = reading_of(prompt(stream=True, stream_options={}), streams=False)
    assert set(json.loads(reading.body)) == {"model"}
    assert reading.feed(b'{"a":') == reading.feed(b"1}") == ""
    assert reading.response(200, "application/json") == Response(200, b'{"a":1}')


def test_what_cannot_be_a_stream() -> None:
    """Other routes, and bodies that the relay is about to refuse, are asked as they are."""
    for wanted in (prompt("/v1/embeddings", input="x"), Prompt(CHAT, b"["), Prompt(CHAT, b"[]")):
        reading = reading_of(wanted, streams=True)
        assert (reading.body, reading.streams) == (wanted.body, False)


@pytest.mark.parametrize("data", [event({"error": {"message": "no"}}), b"data: {\n\n"])
def test_a_stream_that_fails(data: bytes) -> None:
    """It is the engine's failure, and the job is tried again."""
    reading = reading_of(prompt(), streams=True)
    with pytest.raises(BackendFailure):
        reading.feed(data)


def test_a_stream_without_a_response() -> None:
    """So is one that ends before it has begun."""
    with pytest.raises(BackendFailure):
        reading_of(prompt(), streams=True).response(200, "text/event-stream")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"choices": []}', b'{"choices": [1]}', b'{"choices": [{}]}']
)
def test_what_has_no_text(body: bytes) -> None:
    """Embeddings, and whatever else comes."""
    assert text_of(Response(200, body)) == ""


def test_text() -> None:
    """Of completions of both kinds; an error's is not the model's."""
    body = b'{"choices": [{"text": "t"}]}'
    assert text_of(Response(200, body)) == "t"
    assert text_of(Response(400, body)) == ""
