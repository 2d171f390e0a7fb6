"""Ends for responses that their engine could not read; over the wire in test_engine_answers."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.limit_settings import Limits
from runnerd.relay.body_inspection import inspect
from runnerd.relay.events import StreamError
from runnerd.relay.response_adapters.assembly import Assembly
from runnerd.relay.response_adapters.unparsed_end import (
    UnparsedEndOfChat,
    UnparsedEndOfResponse,
    with_an_end,
)
from runnerd.relay.translations import PASSED, Assembled

ERROR = {"message": "The model produced output that does not match the expected peg-native format"}


def chunk(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return b"data: %s\n\n" % msgspec.json.encode({"id": "c", "model": "m", "choices": [choice]})


def error(document: dict[str, Any], field: str = "data") -> bytes:
    document = {"error": document} if field == "data" else document
    return b"%s: %s\n\n" % (field.encode(), msgspec.json.encode(document))


@given(
    st.lists(st.text(max_size=4), max_size=4),
    st.sampled_from(["data", "error"]),
    st.lists(st.integers(0, 400), max_size=6),
)
def test_in_any_pieces(texts: list[str], field: str, cuts: list[int]) -> None:
    """What came before the error is there, whole, and then the end; nothing behind it counts."""
    stream = b"".join(map(chunk, texts)) + error(ERROR, field) + chunk("never")
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    made = UnparsedEndOfChat(PASSED, "m")
    out = b"".join(made.feed(stream[a:b]) for a, b in pairwise(places))
    whole = Assembly(1, "m")
    whole.feed(out + made.end())
    [choice] = json.loads(whole.result())["choices"]
    assert choice["message"]["content"] == "".join(texts)
    assert choice["finish_reason"] == "length"
    assert out.endswith(b"data: [DONE]\n\n")


def test_other_errors_stay() -> None:
    """They are told as before."""
    for document in ({"message": "no memory"}, {"code": 500}):
        made = UnparsedEndOfChat(Assembled(1, "m"), "m")
        with pytest.raises(StreamError):
            made.feed(error(document))


def test_a_response_with_items() -> None:
    """Those that were complete stay, and the one that was being written is told as far as it is."""
    made = UnparsedEndOfResponse(PASSED, "m")
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {"id": "r", "output": []}},
        {"type": "response.output_item.added", "item": {"type": "reasoning", "id": "t"}},
        {"type": "response.output_item.done", "item": {"type": "reasoning", "id": "t"}},
        {"type": "response.output_item.added", "item": {"type": "message", "id": "m"}},
        {"type": "response.output_text.delta", "item_id": "m", "delta": "ab"},
    ]
    for event in events:
        made.feed(b"data: %s\n\n" % msgspec.json.encode(event))
    told = [json.loads(line[6:]) for line in made.feed(error(ERROR)).splitlines() if b"{" in line]
    assert [event["type"] for event in told] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    final = told[-1]["response"]
    assert (final["id"], final["status"]) == ("r", "incomplete")
    assert [item["id"] for item in final["output"]] == ["t", "m"]
    assert final["output"][1]["content"][0]["text"] == "ab"


@pytest.mark.parametrize(
    ("operation", "body", "kind"),
    [
        ("chat/completions", {"response_format": {"type": "json_object"}}, UnparsedEndOfChat),
        ("chat/completions", {"tools": [{"type": "function"}]}, UnparsedEndOfChat),
        ("responses", {"response_format": {"type": "json_object"}}, UnparsedEndOfResponse),
        ("chat/completions", {}, None),
        ("chat/completions", {"tools": []}, None),
        ("chat/completions", {"tools": None, "response_format": None}, None),
        ("chat/completions", {"response_format": {"type": "json_object"}, "n": 2}, None),
        ("completions", {"response_format": {"type": "json_object"}}, None),
    ],
)
def test_who_gets_one(operation: str, body: dict[str, Any], kind: type | None) -> None:
    """One response of which an engine reads more than the text."""
    fields = inspect(msgspec.json.encode({"model": "m", **body}), Limits()).fields
    made = with_an_end(PASSED, operation, fields, "m")
    assert made is PASSED if kind is None else type(made) is kind
