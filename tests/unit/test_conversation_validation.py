"""runnerd.relay.conversation_validation: tools that an engine would take for each other."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import Raw

from runnerd.errors import ClientError
from runnerd.relay.conversation_validation import check_chat, check_input, check_messages
from runnerd.relay.known_model import KnownModel

TURNS = [{"role": "user", "content": "x"}]


def deep(name: str) -> dict[str, Any]:
    """A tool of chats."""
    return {"type": "function", "function": {"name": name}}


def flat(name: str) -> dict[str, Any]:
    """A tool of the other APIs."""
    return {"type": "function", "name": name}


@pytest.mark.parametrize(
    ("check", "tool"), [(check_chat, deep), (check_messages, flat), (check_input, flat)]
)
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
    check: Callable[[Raw, bytes, KnownModel], None],
    tool: Callable[[str], dict[str, Any]],
    names: list[str],
    other: str | None,
) -> None:
    """In every API, with both names and what to do; the same tool twice is the engine's affair."""
    body = json.dumps({"model": "m", "tools": [tool(name) for name in names]}).encode()
    known = KnownModel()
    if other is None:
        check(Raw(json.dumps(TURNS).encode()), body, known)
        return
    with pytest.raises(ClientError, match=f"{other}.*rename") as refused:
        check(Raw(json.dumps(TURNS).encode()), body, known)
    assert refused.value.status == 400
