"""Pantry's parameters in an engine's words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.errors import ClientError
from runnerd.llms.prompting import engine_prompt, merged


def test_what_programs_may_set() -> None:
    """The defaults, and of what a program says the parameters that the entry names."""
    defaults = {"temperature": 0.1, "top_k": 5}
    said = {"temperature": 1, "top_k": 9, "seed": 3}
    assert merged(defaults, said, ["temperature", "seed"]) == {
        "temperature": 1,
        "top_k": 5,
        "seed": 3,
    }


def test_texts_around_a_prompt() -> None:
    """The text before it ends the response, too."""
    found = engine_prompt("hi", {"pre_prompt": "Q: ", "post_prompt": "\nA:", "seed": 1})
    assert found.text == "Q: hi\nA:"
    assert found.parameters == {"seed": 1, "stop": ["Q: "]}
    for stop in ("x", ["x"]):
        said = {"pre_prompt": "Q", "stop": stop}
        assert engine_prompt("hi", said).parameters["stop"] == ["x", "Q"]


def test_what_engines_do_not_know() -> None:
    """It is left out, as the original leaves it out."""
    assert engine_prompt("hi", {"colour": "red", "system_prompt": "x"}) == ("hi", {})


@pytest.mark.parametrize("name", ["pre_prompt", "post_prompt", "sampler_string"])
def test_what_is_no_text(name: str) -> None:
    """It is refused by name."""
    with pytest.raises(ClientError, match=name):
        engine_prompt("hi", {name: 3})
    assert engine_prompt("hi", {name: None}) == ("hi", {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("topk:k=40/topp:p=0.9/temperature:0.8", {"top_k": 40, "top_p": 0.9, "temperature": 0.8}),
        ("temperature:temperature=0.5", {"temperature": 0.5}),
        ("top-k:20 / repetition:penalty=1.1:last_n=64", {"top_k": 20, "repeat_penalty": 1.1}),
        ("mirostat2:tau=5", {"mirostat": 2, "mirostat_tau": 5.0}),
        ("tailfree:z=1/topk:k=many/topp:p=inf", {}),
        ("", {}),
    ],
)
def test_samplers(text: str, expected: dict[str, Any]) -> None:
    """Those that engines know, with their main argument."""
    assert engine_prompt("hi", {"sampler_string": text}).parameters == expected


@given(st.text())
def test_any_samplers(text: str) -> None:
    """Whatever is said, an engine gets numbers."""
    found = engine_prompt("", {"sampler_string": text}).parameters
    assert all(isinstance(value, int | float) for value in found.values())


def test_what_is_said_goes_before_samplers() -> None:
    """A parameter of its own counts more than one in the chain."""
    said = {"sampler_string": "topk:k=40", "top_k": 1}
    assert engine_prompt("", said).parameters == {"top_k": 1}
