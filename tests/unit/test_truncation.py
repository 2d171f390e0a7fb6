"""What is left out of what is too long."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runnerd.api.ollama.truncation import FewerMessages, ShorterTexts


def too_long(tokens: int, room: int) -> dict[str, Any]:
    """The engine's error."""
    return {"type": "exceed_context_size_error", "n_prompt_tokens": tokens, "n_ctx": room}


def conversation(*roles: str) -> dict[str, Any]:
    """Messages of the same length, numbered."""
    return {"messages": [{"role": role, "content": f"{n:0100}"} for n, role in enumerate(roles)]}


def kept(request: bytes | None) -> list[int]:
    """The numbers of the messages that are left."""
    assert request is not None
    return [int(message["content"]) for message in json.loads(request)["messages"]]


def test_the_oldest_go_in_proportion() -> None:
    """Never the system's and never the last."""
    fewer = FewerMessages(conversation("system", "user", "assistant", "user", "assistant", "user"))
    assert kept(fewer(too_long(120, 100))) == [0, 3, 4, 5]
    assert kept(fewer(too_long(10**6, 1))) == [0, 5]
    assert fewer(too_long(10**6, 1)) is None


def test_one_goes_at_least() -> None:
    """Also where the numbers say that everything fits: the engine has said that it does not."""
    fewer = FewerMessages(conversation("user", "user", "user"))
    assert kept(fewer(too_long(100, 1000))) == [1, 2]


def test_results_go_with_their_call() -> None:
    """An engine's template cannot say a result of nothing."""
    fewer = FewerMessages(conversation("assistant", "tool", "tool", "user", "user"))
    assert kept(fewer(too_long(100, 99))) == [3, 4]


@pytest.mark.parametrize(
    "error", [{}, {"type": "other"}, too_long(0, 0), {**too_long(5, 4)} | {"type": 1}]
)
def test_other_errors_shorten_nothing(error: dict[str, Any]) -> None:
    """They are told to the client."""
    assert FewerMessages(conversation("user", "user"))(error) is None
    assert ShorterTexts({"input": ["x"]})(error) is None


def test_tries_come_to_an_end() -> None:
    """An engine that is never content is not asked for ever."""
    shorter = ShorterTexts({"input": ["x" * 10**6]})
    error = {"message": "input (1000 tokens) is too large to process, increase to 999"}
    tries = 0
    while shorter(error) is not None:
        tries += 1
    assert tries == 12


@pytest.mark.parametrize(
    "message",
    [
        "input (200 tokens) is too large to process. increase the physical batch size: 100",
        "input (200 tokens) is larger than the max context size (100 tokens). skipping",
    ],
)
def test_the_longest_text_is_cut(message: str) -> None:
    """Shorter ones stay as they are."""
    made = ShorterTexts({"input": ["x" * 1000, "short"], "model": "m"})({"message": message})
    assert made is not None
    document = json.loads(made)
    assert [len(text) for text in document["input"]] == [475, 5]
    assert document["model"] == "m"
