"""request_rewrites.alternating_turns: user and assistant take turns, and nothing is lost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.relay.request_rewrites.alternating_turns import alternating

_CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
_TOLD = '<tool_call>\n{"name":"f","arguments":{"x":1}}\n</tool_call>'
_GIVEN = "<tool_response>\nr\n</tool_response>"


def last(document: dict[str, Any]) -> dict[str, Any]:
    """The form behind which there is no other."""
    body = json.dumps(document).encode()
    for _ in range(4):
        found = alternating(body)
        if found is None:
            told: dict[str, Any] = json.loads(body)
            return told
        body = found
    raise AssertionError("the steps do not end")


def test_turns() -> None:
    """Two of one side are one; before a first one of the assistant the user says nothing."""
    turns = [
        {"role": "system", "content": "s"},
        {"role": "assistant", "content": "a"},
        {"role": "assistant", "content": [{"type": "text", "text": "b"}]},
        {"role": "user", "content": "c"},
    ]
    found = alternating(json.dumps({"messages": turns, "seed": 1}).encode())
    assert found is not None
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert json.loads(found) == {
        "messages": [
            turns[0],
            {"role": "user", "content": ""},
            {"role": "assistant", "content": parts},
            turns[3],
        ],
        "seed": 1,
    }


def test_calls_stay_calls_at_first() -> None:
    """A template may know tools and still insist on turns."""
    turns = [
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": None, "tool_calls": [_CALL], "reasoning_content": "x"},
        {"role": "assistant", "content": "b", "tool_calls": [_CALL], "reasoning_content": "y"},
        {"role": "tool", "content": "r"},
    ]
    found = json.loads(alternating(json.dumps({"messages": turns}).encode()) or b"")
    joined = {"content": "b", "tool_calls": [_CALL, _CALL], "reasoning_content": "x\n\ny"}
    assert found["messages"] == [turns[0], {"role": "assistant", **joined}, turns[3]]


@pytest.mark.parametrize(
    "document",
    [
        {"messages": [
            {"role": "user", "content": "u"},
            {"role": "assistant", "content": "", "tool_calls": [_CALL]},
            {"role": "tool", "tool_call_id": "1", "content": "r"}]},
        {"messages": [
            {"role": "user", "content": "u"},
            {"role": "assistant", "content": [
                {"type": "tool_use", "id": "1", "name": "f", "input": {"x": 1}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "1", "content": "r"}]}]},
        {"input": [
            {"type": "message", "role": "user", "content": "u"},
            {"type": "reasoning", "summary": []},
            {"type": "function_call", "call_id": "1", "name": "f", "arguments": '{"x":1}'},
            {"type": "function_call_output", "call_id": "1", "output": "r"}]},
    ],
)  # fmt: skip
def test_tools_as_text(document: dict[str, Any]) -> None:
    """Calls and results of every API are told in turns."""
    name = next(iter(document))
    turns = last(document)[name]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    texts = [
        said if isinstance(said := turn["content"], str) else said[0]["text"] for turn in turns
    ]
    assert texts == ["u", _TOLD, _GIVEN]


def test_no_system() -> None:
    """What it says begins what the user says first."""
    said = {"role": "user", "content": "u"}
    assert last({"messages": [{"role": "system", "content": "s"}, said]}) == {
        "messages": [{"role": "user", "content": "s\n\nu"}]
    }
    assert last({"system": "s", "messages": [said]}) == {
        "messages": [{"role": "user", "content": "s\n\nu"}]
    }


@pytest.mark.parametrize("turns", [None, 3, ["x"], []])
def test_what_is_no_conversation(turns: Any) -> None:
    """There is no other form of it."""
    assert alternating(json.dumps({"messages": turns}).encode()) is None


_ROLES = st.sampled_from(["system", "user", "assistant", "tool"])
_CONTENT = st.sampled_from(["a", "b"]) | st.just([{"type": "text", "text": "c"}])
_TURNS = st.lists(st.fixed_dictionaries({"role": _ROLES, "content": _CONTENT}), max_size=6)


@given(turns=_TURNS)
def test_any_turns(turns: list[Any]) -> None:
    """The last form begins with the user, takes turns and has every word."""
    found = last({"messages": turns})["messages"]
    roles = [turn["role"] for turn in found]
    assert roles == [("user", "assistant")[index % 2] for index in range(len(roles))]
    words = sorted(
        letter for letter in json.dumps([t["content"] for t in turns]) if letter in "abc"
    )
    told = json.dumps([turn["content"] for turn in found]).replace("tool_response", "")
    assert sorted(letter for letter in told if letter in "abc") == words
