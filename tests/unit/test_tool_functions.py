"""Tools as each of the APIs writes them."""

from __future__ import annotations

import pytest

from runnerd.relay.request_rewrites.tool_functions import function_of, name_of

FUNCTION = {"name": "add", "parameters": {}}


@pytest.mark.parametrize("tool", [FUNCTION, {"type": "function", "function": FUNCTION}])
def test_both_depths(tool: dict[str, object]) -> None:
    """A chat has the function in a member, a response's tool is the function itself."""
    assert (function_of(tool) or {})["parameters"] == {}
    assert name_of(tool) == "add"


@pytest.mark.parametrize("tool", [None, [], "add", 1, {"function": "add"}, {"function": None}])
def test_what_is_no_function(tool: object) -> None:
    """It has neither form nor name, and nothing breaks at it."""
    assert function_of(tool) is None
    assert name_of(tool) == ""


@pytest.mark.parametrize("name", [None, 1, ["add"], {}])
def test_names_that_are_none(name: object) -> None:
    """A name is a text."""
    assert name_of({"function": {"name": name}}) == ""
