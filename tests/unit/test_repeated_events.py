"""Events of a stream that differ in their text alone: read as if each were decoded whole."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.relay.response_adapters.repeated_events import RepeatedEvent


def event(text: str, **more: Any) -> bytes:
    """One piece of a chat, as an engine writes it."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None} | more
    return msgspec.json.encode({"choices": [choice], "id": "x"})


def learned(first: bytes) -> tuple[RepeatedEvent, list[str]]:
    """What expects that event again, and the texts so far."""
    pieces = {0: {"content": ["a"]}}
    repeated = RepeatedEvent()
    repeated.learn(first, msgspec.json.decode(first), pieces)
    return repeated, pieces[0]["content"]


@given(st.lists(st.text(max_size=8), max_size=6))
def test_texts_are_as_they_were_sent(texts: list[str]) -> None:
    """One by one, and those that came together."""
    repeated, found = learned(event("a"))
    for text in texts:
        assert repeated.takes(event(text))
    assert repeated.take_run([event(text) for text in texts], 0) == len(texts)
    assert found == ["a", *texts, *texts]


@pytest.mark.parametrize(
    "other",
    [
        event("b", finish_reason="stop"),
        event("b", index=1),
        b"[DONE]",
        event("b")[:-1],
        event("b").replace(b'"b"', b'"b","reasoning_content":"c"'),
        event("b").replace(b'"b"', b"null"),
        event("b").replace(b'"b"', b'"b","c"'),
        b"",
    ],
)
def test_others_are_left_to_who_reads_them_whole(other: bytes) -> None:
    """A run ends before them or is left whole, and nothing of them is taken."""
    repeated, found = learned(event("a"))
    assert not repeated.takes(other)
    taken = repeated.take_run([event("b"), other], 0)
    assert found == ["a", "b"][: 1 + taken]


def test_nothing_is_expected_of_an_event_with_more_than_text() -> None:
    """Another one would add logprobs, too."""
    repeated, _ = learned(event("a", logprobs={"content": []}))
    assert not repeated.takes(event("b"))
