"""response_adapters.logprobs: a list of tokens as the four lists of OpenAI's older API."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.relay.body import Inference
from runnerd.relay.events import StreamError
from runnerd.relay.response_adapters.assembly import Assembly
from runnerd.relay.response_adapters.event_changes import ChangedResponse, ChangedStream
from runnerd.relay.response_adapters.logprobs import (
    HalfCharacters,
    TokenLists,
    half_characters_wanted,
    lists_wanted,
    with_one_alternative,
)


def asked(**fields: Any) -> Inference:
    return msgspec.json.decode(json.dumps(fields).encode(), type=Inference)


def lists(**fields: Any) -> TokenLists:
    found = lists_wanted(asked(**{"logprobs": 2} | fields))
    assert found is not None
    return found


def entry(text: bytes, logprob: float, *others: tuple[bytes, float]) -> dict[str, Any]:
    """Return a token as the engine tells it."""
    told = {"token": text.decode(errors="ignore"), "bytes": list(text), "logprob": logprob}
    return {**told, "top_logprobs": [entry(*other) for other in others]}


def chunk(index: int, *entries: dict[str, Any]) -> dict[str, Any]:
    text = "".join(each["token"] for each in entries)
    choice: dict[str, Any] = {"index": index, "text": text, "logprobs": {"content": entries}}
    return {"object": "text_completion", "choices": [{**choice, "finish_reason": None}]}


@pytest.mark.parametrize(
    ("said", "top"),
    [({"logprobs": 3}, 3), ({"logprobs": 0}, 0), ({}, None), ({"logprobs": None}, None),
     ({"logprobs": True}, None), ({"logprobs": -1}, None), ({"logprobs": "2"}, None)],
)  # fmt: skip
def test_who_asks_in_openais_way(said: dict[str, Any], top: int | None) -> None:
    """By a number; the engine's own ways stay its own."""
    found = lists_wanted(asked(prompt="x", **said))
    assert (None if found is None else found.top) == top


def test_half_a_character_in_chats() -> None:
    """Its bytes stay exact, its text is U+FFFD; whole ones stay as they are."""
    half = entry(b" \xc3", -3.0, (b"\xf0\x9f", -0.1), (b"d", -0.2))
    document = {"choices": [{"index": 0, "logprobs": {"content": [half, entry(b"b", -1.0)]}}]}
    HalfCharacters().change(document)
    assert (half["token"], half["bytes"]) == (" \ufffd", [0x20, 0xC3])
    assert [each["token"] for each in half["top_logprobs"]] == ["\ufffd", "d"]
    assert half["top_logprobs"][0]["bytes"] == [0xF0, 0x9F]
    HalfCharacters().change({"choices": [{"logprobs": None}, {}]})
    with pytest.raises(StreamError):
        HalfCharacters().change({"choices": [{"logprobs": {"content": [5]}}]})


@pytest.mark.parametrize(("said", "is_wanted"), [(True, True), (False, False), (2, False)])
def test_who_asks_in_chats_way(said: object, is_wanted: bool) -> None:
    """With `true`; a number is the older API's."""
    assert (half_characters_wanted(asked(logprobs=said)) is not None) == is_wanted
    assert half_characters_wanted(asked()) is None


def test_one_alternative_is_asked_for_in_place_of_none() -> None:
    """The last of two equal names counts."""
    assert json.loads(with_one_alternative(b' {"a": 1, "logprobs":0 } ')) == {"a": 1, "logprobs": 1}


def test_the_lists() -> None:
    """Alternatives and the token itself, offsets behind the prompt, half characters as bytes."""
    document = chunk(
        0,
        entry(b" a", -0.5, (b" a", -0.5), (b"b", -1.5), (b"c", -2.5)),
        entry(b"\xc3", -3.0, (b"d", -0.1)),
        entry(b"\xa9", -0.25),
        entry(b"!", -0.75),
    )
    lists(prompt="Once").change(document)
    assert document["choices"][0]["logprobs"] == {
        "tokens": [" a", "bytes:\\xc3", "bytes:\\xa9", "!"],
        "token_logprobs": [-0.5, -3.0, -0.25, -0.75],
        "top_logprobs": [
            {" a": -0.5, "b": -1.5},
            {"d": -0.1, "bytes:\\xc3": -3.0},
            {"bytes:\\xa9": -0.25},
            {"!": -0.75},
        ],
        "text_offset": [4, 6, 6, 7],
    }


@pytest.mark.parametrize(
    ("prompt", "n", "offsets"),
    [
        ("é!", 1, [2]),
        (["one", "three"], 1, [3, 5]),
        (["one", "three"], 2, [3, 3, 5, 5]),
        ([1, 2, 3], 1, [0]),
        (["a", [1]], 1, [0, 0]),
    ],
)
def test_offsets_begin_behind_the_prompt(prompt: Any, n: int, offsets: list[int]) -> None:
    """Each response's behind its own; of tokens nobody knows the text."""
    converter = lists(prompt=prompt, n=n)
    for index, offset in enumerate(offsets):
        document = chunk(index, entry(b"x", -1.0))
        converter.change(document)
        assert document["choices"][0]["logprobs"]["text_offset"] == [offset]


def test_other_shapes_stay() -> None:
    """An engine that speaks the older API itself, and what has none."""
    for told in ({"tokens": ["x"], "text_offset": [0]}, None):
        document: dict[str, Any] = {"choices": [{"index": 0, "logprobs": told}]}
        lists(prompt="x").change(document)
        assert document["choices"][0]["logprobs"] == told


@pytest.mark.parametrize("content", [[1], [{"bytes": [1]}], 5, [{"token": 1, "logprob": 1}]])
def test_what_is_none_breaks_the_answer(content: Any) -> None:
    """With an error of the stream, not with a bug's."""
    document: dict[str, Any] = {"choices": [{"index": 0, "logprobs": {"content": content}}]}
    with pytest.raises(StreamError):
        lists(prompt="x").change(document)


_TOKENS = st.lists(
    st.tuples(st.integers(0, 1), st.binary(max_size=3), st.floats(-99, 0)), min_size=1, max_size=8
)


@given(_TOKENS, st.data())
def test_streamed_and_whole_answers_say_the_same(
    tokens: list[tuple[int, bytes, float]], data: st.DataObject
) -> None:
    """However the stream is cut; what is no log probability passes as it is."""
    chunks = [chunk(index, entry(text, logprob)) for index, text, logprob in tokens]
    events = [b"data: " + json.dumps(each, separators=(",", ":")).encode() for each in chunks]
    stream = b"".join(event + b"\n\n" for event in [b"data: null", *events, b"data: [DONE]"])
    whole = ChangedResponse(lists(prompt=["a", "bc"]), Assembly(2, "m"))
    streamed, out, start = ChangedStream(lists(prompt=["a", "bc"])), b"", 0
    while start < len(stream):
        end = data.draw(st.integers(start + 1, len(stream)))
        assert whole.feed(stream[start:end]) == b""
        out += streamed.feed(stream[start:end])
        start = end
    out += streamed.end()
    *pieces, done = out.removesuffix(b"\n\n").split(b"\n\n")
    assert done == b"data: [DONE]"
    merged: dict[int, dict[str, list[Any]]] = {}
    for piece in pieces:
        [choice] = json.loads(piece[6:])["choices"]
        for name, values in choice["logprobs"].items():
            merged.setdefault(choice["index"], {}).setdefault(name, []).extend(values)
    found = json.loads(whole.end())["choices"]
    assert {choice["index"]: choice["logprobs"] for choice in found} == merged
