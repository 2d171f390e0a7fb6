"""Which tools may be called, and the arguments of calls that come back, whatever clients send."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.api.openai.items import engine_items
from runnerd.errors import ClientError
from runnerd.limit_settings import Limits
from runnerd.relay.body_inspection import inspect
from runnerd.relay.request_rewrites.arguments import readable, with_readable_calls
from runnerd.relay.request_rewrites.tool_choice import choice_of, with_chosen_tools

COVERS = ("runnerd.api.openai.items",)

LIMITS = Limits()
_WORDS = st.sampled_from(
    [
        *("type", "name", "function", "allowed_tools", "tools", "mode", "auto", "required", "none"),
        *("message", "reasoning", "function_call", "function_call_output", "summary", "output"),
        *("role", "assistant", "content", "text", "arguments", "refusal", "item_reference", "id"),
    ]
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | _WORDS | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_WORDS, inner, max_size=5),
    max_leaves=16,
)


def tool(name: str) -> dict[str, Any]:
    """Return a tool of a chat."""
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}


def chosen(**asked: Any) -> Any:
    """Return what the engine gets of a chat."""
    body = msgspec.json.encode({"model": "m", "messages": [], **asked})
    return msgspec.json.decode(with_chosen_tools(inspect(body, LIMITS)).body)


@pytest.mark.parametrize("choice", [None, "auto", "required"])
def test_what_the_engine_knows_is_left_alone(choice: str | None) -> None:
    """The client's own bytes go on."""
    body = msgspec.json.encode({"model": "m", "tools": [tool("a")], "tool_choice": choice})
    assert with_chosen_tools(inspect(body, LIMITS)).body is body


def test_named_tools_are_all_that_is_left() -> None:
    """In the order of the request, with every other member as it was."""
    tools = [tool("a"), tool("b"), tool("c")]
    found = chosen(tools=tools, tool_choice=tool("b"), temperature=0.50)
    assert (found["tools"], found["tool_choice"]) == ([tools[1]], "required")
    assert found["temperature"] == 0.5
    allowed = {"mode": "auto", "tools": [tool("c"), tool("a")]}
    found = chosen(tools=tools, tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    assert (found["tools"], found["tool_choice"]) == ([tools[0], tools[2]], "auto")


@pytest.mark.parametrize("tools", [[tool("a")], [], None])
def test_no_tool(tools: Any) -> None:
    """Neither tools nor a choice among them."""
    assert chosen(tools=tools, tool_choice="none").keys() == {"model", "messages"}


@given(choice=_JSON, tools=_JSON)
def test_any_choice(choice: Any, tools: Any) -> None:
    """It is understood or refused with its name, never anything else."""
    body = msgspec.json.encode({"model": "m", "tools": tools, "tool_choice": choice})
    try:
        found = msgspec.json.decode(with_chosen_tools(inspect(body, LIMITS)).body)
    except ClientError:
        return
    assert found.get("tool_choice") in (None, "auto", "required")
    assert choice_of(choice).word in ("auto", "none", "required")


@given(items=st.lists(_JSON, max_size=3))
def test_any_items(items: list[Any]) -> None:
    """They become items of the engine, or are refused."""
    try:
        found = engine_items(items)
    except ClientError:
        return
    assert all(item["type"] in ("message", "reasoning") or "call" in item["type"] for item in found)


@given(text=st.text() | st.sampled_from(["{}", "[]", '{"a": 1}', "null", " "]))
def test_any_arguments(text: str) -> None:
    """They are an object afterwards, and are left alone if they were."""
    found = readable(text)
    assert isinstance(found, str)
    assert isinstance(msgspec.json.decode(found), dict)
    assert readable(found) == found


def test_arguments_in_a_chat() -> None:
    """Only what cannot be read is changed; a chat without such is not asked again."""
    calls = [{"function": {"name": "a", "arguments": text}} for text in ('{"b": 1}', "", "{")]
    body = msgspec.json.encode({"messages": [{"role": "user"}, {"tool_calls": calls}]})
    again = with_readable_calls(body)
    assert again is not None
    found = msgspec.json.decode(again)["messages"][1]["tool_calls"]
    assert [call["function"]["arguments"] for call in found] == [
        '{"b": 1}',
        "{}",
        '{"arguments":"{"}',
    ]
    assert with_readable_calls(again) is None
