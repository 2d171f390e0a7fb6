"""Parameters that an owner sets for every completion: typed and bounded when they are set."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from runnerd.backends.parameters import CompletionParameters


def test_only_what_was_said_is_told() -> None:
    """What is not set is left to the engine and its client; a nought is said."""
    said = {"temperature": 0.0, "stop": ["a"], "chat_template_kwargs": {"enable_thinking": False}}
    assert CompletionParameters.model_validate(said).said() == said
    assert CompletionParameters().said() == {}


@pytest.mark.parametrize(
    "said",
    [
        {"temperature": "hot"},
        {"temperature": float("inf")},
        {"top_k": -1},
        {"min_p": 1.5},
        {"seed": 2**32},
        {"stop": []},
        {"stop": [""]},
        {"repeat_last_n": 1.5},
        {"reasoning_effort": "High!"},
        {"chat_template_kwargs": {"a": {"b": 1}}},
        {"grammar_file": "/etc/passwd"},
    ],
)
def test_slips_are_refused(said: dict[str, Any]) -> None:
    """Of another type, out of bounds, or not known."""
    with pytest.raises(ValidationError):
        CompletionParameters.model_validate(said)
