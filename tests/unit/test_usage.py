"""Token counts from the end of a response."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from runnerd.relay.usage import Usage, excerpt, joined, read

USAGE = (
    b'"usage":{"completion_tokens":4,"prompt_tokens":10,"total_tokens":14,'
    b'"prompt_tokens_details":{"cached_tokens":2}}'
)
TIMINGS = b'"timings":{"cache_n":2,"prompt_n":8,"prompt_ms":0.7,"predicted_n":4}'


def test_usage_of_a_stream_and_of_a_whole_answer() -> None:
    """OpenAI's account is read wherever it stands, and so is the engine's own without it."""
    for data in (
        b"data: {" + USAGE + b"}\n\ndata: [DONE]\n\n",
        b'{"choices":[],' + USAGE + b"," + TIMINGS + b"}",
        b"data: {" + TIMINGS + b"}\n\n",
    ):
        found = excerpt(data)
        assert found is not None
        assert read(found) == Usage(prompt=10, generated=4, cached=2)


START = (
    b'data: {"type":"message_start","message":{"model":"m","usage":{"cache_read_input_tokens":8,'
    b'"input_tokens":2,"output_tokens":0}}}\n\n'
)
DELTA = b'data: {"type":"message_delta","delta":{},"usage":{"output_tokens":4}}\n\n'


def test_a_stream_of_anthropics_tells_its_prompt_first() -> None:
    """In one piece or in several, with deltas that repeat themselves."""
    told = Usage(prompt=10, generated=4, cached=8)
    found = excerpt(START + DELTA)
    assert found is not None
    assert read(found) == told
    counts = None
    for piece in (START, DELTA.replace(b"4", b"3"), DELTA, b"data: {}\n\n", DELTA):
        if (each := excerpt(piece)) is not None:
            counts = joined(counts, each)
    assert counts is not None
    assert read(counts) == told
    assert len(counts) < 3000
    last = excerpt(DELTA)
    assert last is not None
    assert read(last) == Usage(generated=4)


def test_nonsense_counts_as_nothing() -> None:
    """Numbers that are none, or an object that breaks off, are not told; nothing is raised."""
    assert read(b'"usage":{"prompt_tokens":"x","completion_tokens":-1}') == Usage()
    assert read(b'"usage":{"prompt_tokens":1') is None
    assert read(b'"usage":{' + b"[" * 900) is None
    assert excerpt(b"data: {}") is None


@given(st.text())
def test_text_is_never_mistaken_for_counts(text: str) -> None:
    """What a model writes is inside a JSON string, where its quotes are escaped."""
    content = json.dumps({"content": text + '"usage":{"prompt_tokens":1}' + text}).encode()
    assert excerpt(content) is None
