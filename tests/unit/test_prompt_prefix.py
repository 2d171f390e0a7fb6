"""What a model's maker puts in front of conversations."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from runnerd.models.modelfile import Modelfile, Remark
from runnerd.relay.request_rewrites.prompt_prefix import Opening, PromptPrefix, prompt_prefix_for

BOTH = Modelfile(system="be kind", messages=(Remark("user", "hi"), Remark("assistant", "hello")))


def opened(operation: str, **members: Any) -> tuple[dict[str, Any], list[Any]]:
    """The default members, and the turns that come in front."""
    raw = {name: msgspec.Raw(json.dumps(value).encode()) for name, value in members.items()}
    opening = PromptPrefix(BOTH, operation).opening(raw)
    turns = [json.loads(b"[" + each.rstrip(b",") + b"]") for each in opening.turns.values()]
    return dict(opening.system), [turn for each in turns for turn in each]


USER = [{"role": "user", "content": "x"}]


def test_a_chat_has_its_system_prompt_as_a_turn() -> None:
    """Unless it brings one; the messages come in front in any case."""
    system, turns = opened("chat/completions", messages=USER)
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant"]
    assert system == {}
    for role in ("system", "developer"):
        own = [{"role": role, "content": "mine"}, *USER]
        _, turns = opened("chat/completions", messages=own)
        assert [turn["role"] for turn in turns] == ["user", "assistant"]


@pytest.mark.parametrize(
    ("operation", "turns", "member"),
    [("responses", "input", "instructions"), ("messages", "messages", "system")],
)
def test_others_have_it_as_a_member(operation: str, turns: str, member: str) -> None:
    """As a default: the client's own stands. Turns are in the API's form."""
    system, found = opened(operation, **{turns: USER})
    assert system == {member: "be kind"}
    assert [turn.get("type") for turn in found] == (
        ["message"] * 2 if operation == "responses" else [None] * 2
    )


@pytest.mark.parametrize("messages", [[], "text", None, {"role": "user"}, [1]])
def test_what_is_no_conversation_gets_nothing(messages: Any) -> None:
    """The engine says what is wrong with it."""
    assert opened("chat/completions", messages=messages) == ({}, [])
    assert PromptPrefix(BOTH, "chat/completions").opening({}) == Opening()


def test_for_which_operations() -> None:
    """Conversations, and only where something is said."""
    assert prompt_prefix_for(BOTH, "chat/completions") is not None
    assert prompt_prefix_for(BOTH, "embeddings") is None
    assert prompt_prefix_for(Modelfile(), "chat/completions") is None
