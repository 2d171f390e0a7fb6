"""Members that say how to generate, of the types that engines demand."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from runnerd.errors import ClientError
from runnerd.relay.engine_parameters import (
    check_message_parameters,
    check_parameters,
    check_response_parameters,
    check_text_parameters,
)

REFUSED = (ClientError, msgspec.ValidationError)


def body(**said: Any) -> bytes:
    return json.dumps(said).encode()


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"temperature": None, "top_k": 40.0, "seed": -1, "cache_prompt": False},
        {"max_tokens": -1, "n": 1, "n_keep": -1, "repeat_penalty": 0.1},
        {"temperature": True},  # the engine reads a number of it
        {"stop": "x"},
        {"stop": ["x", "y"]},
        {"stop": 3},  # which it passes over
        {"samplers": "topk"},
        {"samplers": ["top_k"]},
        {"reasoning_format": "deepseek"},
        {"stream_options": {"include_usage": True}},
        {"stream_options": "whatever"},
        {"chat_parser": 3},  # of chats the template decides it
        {"unknown": [1]},
    ],
)
def test_what_an_engine_takes(said: dict[str, Any]) -> None:
    """Null is as nothing said, and what it does not read is not looked at."""
    check_parameters(body(**said))


@pytest.mark.parametrize(
    "said",
    [
        {"temperature": "0.7"},
        {"max_tokens": -2},
        {"max_tokens": 2**31},
        {"n": 0},
        {"repeat_penalty": 0},
        {"adaptive_decay": 1.0},
        {"adaptive_decay": True},
        {"cache_prompt": 1},
        {"dry_sequence_breakers": []},
        {"json_schema": "x"},
        {"lora": {}},
        {"samplers": ["top_k", 1]},
        {"stop": ["x", 1]},
        {"reasoning_format": "mine"},
        {"stream_options": {"include_usage": "yes"}},
    ],
)
def test_what_no_engine_takes(said: dict[str, Any]) -> None:
    """So no model is loaded for it."""
    with pytest.raises(REFUSED):
        check_parameters(body(**said))


def test_the_member_is_named() -> None:
    """Where it is one of several that a client may have said."""
    with pytest.raises(ClientError, match="none, auto, deepseek") as found:
        check_parameters(body(reasoning_format="x"))
    assert found.value.param == "reasoning_format"


@pytest.mark.parametrize(
    ("check", "fits", "refused"),
    [
        (check_text_parameters, {"chat_parser": "x"}, {"chat_parser": 3}),
        (check_text_parameters, {"grammar_triggers": [1]}, {"grammar_triggers": "x"}),
        (check_message_parameters, {"stop_sequences": ["x"]}, {"stop_sequences": [1]}),
        (check_message_parameters, {"n": "it is no member there"}, {"max_tokens": "9"}),
        (check_response_parameters, {"max_output_tokens": 9}, {"max_output_tokens": "9"}),
        (check_response_parameters, {"temperature": 1}, {"temperature": "1"}),
    ],
)
def test_what_only_some_requests_may_say(
    check: Callable[[bytes], None], fits: dict[str, Any], refused: dict[str, Any]
) -> None:
    """Each kind of request has members of its own."""
    check(body(**fits))
    with pytest.raises(REFUSED):
        check(body(**refused))
