"""Schemas in words that the engine knows: tools that it would take for each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from runnerd.errors import ClientError
from runnerd.relay.parsed_request import parse
from runnerd.relay.request_rewrites.known_schemas import with_known_schemas


def deep(name: str) -> dict[str, Any]:
    """A tool of chats."""
    return {"type": "function", "function": {"name": name}}


def flat(name: str) -> dict[str, Any]:
    """A tool of the other APIs."""
    return {"type": "function", "name": name}


@pytest.mark.parametrize("tool", [deep, flat])
@pytest.mark.parametrize(
    ("names", "other"),
    [
        (["a_b", "a-b"], "a-b"),
        (["x", "a.b", "a__b"], "a__b"),
        (["é", "ü"], "ü"),
        (["a_b", "ab", "A_b"], None),
        (["a_b", "a_b"], None),
        ([], None),
    ],
)
def test_tools_of_one_rule_are_refused(
    tool: Callable[[str], dict[str, Any]], names: list[str], other: str | None
) -> None:
    """With both names and what to do; the same tool twice is the engine's affair."""
    request = parse(msgspec.json.encode({"model": "m", "tools": [tool(name) for name in names]}))
    if other is None:
        assert with_known_schemas(request) == (request, ())
        return
    with pytest.raises(ClientError, match=f"{other}.*rename") as refused:
        with_known_schemas(request)
    assert refused.value.param == "tools"
