"""Putting a streamed response together."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.relay.events import StreamError
from runnerd.relay.response_adapters.assembly import Assembly


def event(**fields: Any) -> bytes:
    return b"data: " + json.dumps(fields, ensure_ascii=False).encode() + b"\n\n"


def chat(delta: dict[str, Any], *, index: int = 0, finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return event(object="chat.completion.chunk", id="x", created=1, choices=[choice], **more)


def assemble(*parts: bytes) -> dict[str, Any]:
    assembly = Assembly()
    for part in parts:
        assembly.feed(part)
    result = json.loads(assembly.result())
    assert isinstance(result, dict)
    return result


def test_chat_text_is_concatenated() -> None:
    """Role, text, reasoning and reason for the end come together in one message."""
    response = assemble(
        chat({"role": "assistant", "content": None}),
        chat({"reasoning_content": "hm"}),
        chat({"content": "Hel"}),
        chat({"content": "lo"}),
        chat({}, finish="stop"),
        event(object="chat.completion.chunk", choices=[], usage={"total_tokens": 3}),
        b"data: [DONE]\n\n",
    )
    assert response["object"] == "chat.completion"
    assert response["usage"] == {"total_tokens": 3}
    assert response["choices"] == [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "Hello", "reasoning_content": "hm"},
        }
    ]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_any_line_ends(end: bytes, size: int) -> None:
    """A plug-in's server may end lines otherwise than llama-server; comments say nothing."""
    stream = b": begins\n\n" + b"".join(chat({"content": text}) for text in "Hello")
    stream = (stream + chat({}, finish="stop") + b"data: [DONE]\n\n").replace(b"\n", end)
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert assemble(*pieces, end)["choices"][0]["message"]["content"] == "Hello"


def test_answers_to_several_prompts_are_kept_apart_and_counted_together() -> None:
    """Two prompts with two answers each: four choices in order, and each prompt counts once."""
    assembly = Assembly(prompts=2)
    assembly.feed(b"data: null\n\n")
    for index in (3, 0, 2, 1):
        usage = {"prompt_tokens": 5, "completion_tokens": index, "total_tokens": 5 + index}
        choice = {"index": index, "text": f"text {index}", "finish_reason": None}
        end = {"index": index, "text": "", "finish_reason": "stop"}
        assembly.feed(event(object="text_completion", choices=[choice]))
        assembly.feed(event(object="text_completion", choices=[end], usage=usage))
    response = json.loads(assembly.result())
    texts = [(choice["index"], choice["text"]) for choice in response["choices"]]
    assert texts == [(index, f"text {index}") for index in range(4)]
    assert response["usage"] == {"prompt_tokens": 10, "completion_tokens": 6, "total_tokens": 16}


def test_tool_calls_are_merged_by_index() -> None:
    """Arguments are concatenated per call, and two calls are kept apart."""
    first = {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}
    second = {
        "index": 1,
        "id": "b",
        "type": "function",
        "function": {"name": "g", "arguments": "{"},
    }
    response = assemble(
        chat({"tool_calls": [first]}),
        chat({"tool_calls": [{"index": 0, "function": {"arguments": '{"x":'}}]}),
        chat({"tool_calls": [second]}),
        chat({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}),
        chat({"tool_calls": [{"index": 1, "function": {"arguments": "}"}}]}),
        chat({}, finish="tool_calls"),
    )
    message = response["choices"][0]["message"]
    assert message["content"] is None
    assert message["tool_calls"] == [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]


def test_choices_are_kept_apart() -> None:
    """With n > 1 each choice gets its own text."""
    response = assemble(
        chat({"content": "a"}),
        chat({"content": "b"}, index=1),
        chat({"content": "c"}, finish="stop"),
    )
    texts = [choice["message"]["content"] for choice in response["choices"]]
    assert texts == ["ac", "b"]


def test_completion_text_and_logprobs() -> None:
    """The older dialect has text and logprobs in the choice itself."""
    response = assemble(
        event(
            object="text_completion",
            choices=[
                {"index": 0, "text": "a", "logprobs": {"content": [1]}, "finish_reason": None}
            ],
        ),
        event(
            object="text_completion",
            choices=[
                {"index": 0, "text": "b", "logprobs": {"content": [2]}, "finish_reason": "length"}
            ],
        ),
    )
    [choice] = response["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("ab", "length")
    assert choice["logprobs"] == {"content": [1, 2]}


@given(st.lists(st.text(), max_size=8), st.data())
def test_events_may_be_cut_anywhere(texts: list[str], data: st.DataObject) -> None:
    """However the bytes are split, in the middle of a character too, the text is the same."""
    stream = b"".join(chat({"content": text}) for text in texts) + chat({}, finish="stop")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    parts = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert assemble(*parts)["choices"][0]["message"]["content"] == "".join(texts)


def test_error_event_is_raised() -> None:
    """An error inside the stream is not taken for a response."""
    with pytest.raises(StreamError) as caught:
        assemble(chat({"content": "a"}), event(error={"code": 400, "message": "no"}))
    assert caught.value.error == {"code": 400, "message": "no"}


def piece(text: str, **more: Any) -> bytes:
    """Return an event as llama-server writes it: without a space, and the same but for its text."""
    document = {
        "choices": [{"finish_reason": None, "index": 0, "delta": {"content": text}}],
        "created": 1,
        "id": "x",
        "object": "chat.completion.chunk",
        **more,
    }
    return b"data: " + json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


TRAPS = ['"', "\\", '","content":"', '"content":"a"', "}}]", "\n\n", ""]
texts = st.text() | st.sampled_from(TRAPS)


@given(st.lists(st.tuples(texts, st.sampled_from([1, 2])), max_size=12), st.data())
def test_events_that_repeat_themselves_are_taken_as_any_other(
    said: list[tuple[str, int]], data: st.DataObject
) -> None:
    """Of events that differ in their text alone the text is the same as if each were read whole,
    and of everything else the last value counts.
    """
    events = [piece(text, created=1, fingerprint=mark) for text, mark in said]
    stream = b"".join(event + b"\n\n" for event in events) + chat({}, finish="stop")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=4)))
    parts = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    response = assemble(*parts)
    assert response["choices"][0]["message"]["content"] == "".join(text for text, _ in said)
    assert response.get("fingerprint") == (said[-1][1] if said else None)


def test_an_event_of_several_lines_is_one() -> None:
    """Its lines are one text, which is no JSON, however much each looks like an event; among
    others that repeat themselves, and where a line is a comment.
    """
    before = piece("a") + b"\n\n"
    with pytest.raises(StreamError, match="not JSON"):
        assemble(before, before + piece("b") + b"\n" + piece("c") + b"\n\n" + before)
    response = assemble(before, before + b": comment\n" + piece("b") + b"\n\n" + before)
    assert response["choices"][0]["message"]["content"] == "aaba"


@pytest.mark.parametrize(
    "more",
    [
        {"usage": {"completion_tokens": 1}},
        {"choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": {"content": [1]}}]},
        {"choices": [{"index": 0, "delta": {"content": "a", "tool_calls": []}}]},
    ],
)
def test_what_adds_more_than_text_is_read_each_time(more: dict[str, Any]) -> None:
    """Counts and probabilities of events that are the same to the byte are all there."""
    assembly = Assembly()
    for _ in range(3):
        assembly.feed(piece("a", **more) + b"\n\n")
    response = assembly.document()
    assert response["choices"][0]["message"]["content"] == "aaa"
    if "usage" in more:
        assert response["usage"]["completion_tokens"] == 3
    if "logprobs" in more.get("choices", [{}])[0]:
        assert response["choices"][0]["logprobs"] == {"content": [1, 1, 1]}


def test_a_piece_that_breaks_its_string_is_no_text() -> None:
    """What fits around a text but is none is read as the whole event, which is no JSON then."""
    assembly = Assembly()
    assembly.feed(piece("a") + b"\n\n" + piece("b") + b"\n\n")
    with pytest.raises(StreamError):
        assembly.feed(piece("c").replace(b'"c"', b'"c","d"') + b"\n\n")


@pytest.mark.parametrize("broken", [b'"c","d"', b'"c""d"', b"", b'"c', b"1"])
def test_a_broken_piece_among_others_is_no_text(broken: bytes) -> None:
    """Also where all of them have come at once, and one lacks what another has too much."""
    events = [piece("a"), piece("b"), piece("c").replace(b'"c"', broken), piece("d"), piece("e")]
    with pytest.raises(StreamError):
        assemble(b"\n\n".join(events) + b"\n\n" + piece("").replace(b'""', b'"x","y"') + b"\n\n")


def test_a_long_answer_may_come_at_once() -> None:
    """Nothing of it is lost where the events that are read together end."""
    texts = [f"{number} " for number in range(5000)]
    stream = b"".join(piece(text) + b"\n\n" for text in texts) + chat({}, finish="stop")
    assert assemble(stream)["choices"][0]["message"]["content"] == "".join(texts)
    half = len(stream) // 2
    response = assemble(stream[:half], stream[half:])
    assert response["choices"][0]["message"]["content"] == "".join(texts)
