"""The engine's event stream as documents."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.relay.events import DONE, Events, StreamError, document_of, written

STREAM = (
    b'data: {"n":1}\n\n: a comment\n\ndata: null\r\n\r\nevent: x\ndata: {"n":\ndata: 2}\n\n'
    b"data: [DONE]\n\n"
)


@given(st.lists(st.integers(0, len(STREAM))))
def test_wherever_it_is_cut(cuts: list[int]) -> None:
    """Documents come when their events are complete; comments, null and the end are none."""
    events, found, begin = Events(), [], 0
    for cut in [*sorted(cuts), len(STREAM)]:
        found += events.feed(STREAM[begin:cut])
        begin = cut
    assert found == [{"n": 1}, {"n": 2}]


def test_what_is_written_can_be_read() -> None:
    """With a type and without one."""
    assert written({"a": "\n"}) == b'data: {"a":"\\n"}\n\n'
    assert Events().feed(written({"a": 1}, "delta") + written({"b": 2}) + DONE) == [
        {"a": 1},
        {"b": 2},
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'data: {"error":{"message":"it is broken"}}', "it is broken"),
        (b'error: {"message":"as llama-server says it"}', "as llama-server says it"),
        (b"data: {", "not JSON"),
        (b"data: \xff", "not JSON"),
        (b"data: " + b"[" * 100000, "not JSON"),
        (b"data: [1]", "unknown shape"),
        (b"data: 1", "unknown shape"),
    ],
)
def test_what_is_no_response(text: bytes, message: str) -> None:
    """An error object says it itself; anything else is told as what it is."""
    with pytest.raises(StreamError, match=message) as found:
        document_of(text)
    assert found.value.error["message"]


def test_an_error_that_is_no_object_is_a_member() -> None:
    """Some engines say null or a text there."""
    assert document_of(b'data: {"error":null}') == {"error": None}
    assert document_of(b"data:") is None
