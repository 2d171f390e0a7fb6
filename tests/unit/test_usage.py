"""Token counts from the end of a response."""

from __future__ import annotations

import json
from typing import Any

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


NUMBERS = st.none() | st.booleans() | st.integers(-2, 2**54) | st.floats(0, 9) | st.just("7")
NAMES = st.sampled_from(["cached_tokens", "audio_tokens"])
MEMBERS = {
    "prompt_tokens": NUMBERS,
    "completion_tokens": NUMBERS,
    "total_tokens": NUMBERS,
    "input_tokens": NUMBERS,
    "output_tokens": NUMBERS,
    "cache_read_input_tokens": NUMBERS,
    "prompt_tokens_details": st.none() | st.dictionaries(NAMES, NUMBERS),
    "input_tokens_details": st.none() | st.dictionaries(NAMES, NUMBERS),
}


def counted(*values: object) -> int | None:
    """The first that is a count."""
    counts = (each for each in values if isinstance(each, int) and 0 <= each < 2**53)
    return next(counts, None)


@given(st.fixed_dictionaries({}, optional=MEMBERS))
def test_all_forms_of_counts_are_read_alike(said: dict[str, Any]) -> None:
    """The plain form, which is read in one step, and everything else that may be told."""
    if "output_tokens" in said and "input_tokens" not in said:
        return  # the end of one of Anthropic's streams, which goes by its beginning
    cached = counted(said.get("cache_read_input_tokens"))
    prompt = counted(said.get("prompt_tokens"), said.get("input_tokens"))
    details = said.get("prompt_tokens_details") or said.get("input_tokens_details")
    assert read(b'"usage":' + json.dumps(said, separators=(",", ":")).encode() + b"}") == Usage(
        prompt if prompt is None or cached is None else prompt + cached,
        counted(said.get("completion_tokens"), said.get("output_tokens")),
        counted(details.get("cached_tokens")) if isinstance(details, dict) else cached,
    )
