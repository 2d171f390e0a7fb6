"""runnerd.relay.tool_plans: which requests with tools are asked in other words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runnerd.errors import ClientError
from runnerd.relay.parsed_request import ParsedRequest, parse
from runnerd.relay.response_adapters.calls_or_text import CallsOrTextOfChat
from runnerd.relay.response_adapters.forced_call import ForcedCallOfChat, ForcedCallOfResponse
from runnerd.relay.tool_plans import tool_plan
from runnerd.relay.translations import PASSED

COVERS = (
    "runnerd.relay.response_adapters.calls_or_text",
    "runnerd.relay.response_adapters.forced_call",
)

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
FORM = {"type": "json_object"}


def request(**said: Any) -> ParsedRequest:
    return parse(json.dumps({"model": "m", "messages": [], **said}).encode())


@pytest.mark.parametrize(
    ("operation", "kind"),
    [("chat/completions", ForcedCallOfChat), ("responses", ForcedCallOfResponse)],
)
def test_a_call_that_must_be_made(operation: str, kind: type) -> None:
    """It is asked once, and what comes is turned back into a call of that API."""
    plan = tool_plan(operation, request(tools=TOOLS, tool_choice="required"))
    assert plan is not None
    assert plan.again is None
    assert type(plan.wrap(PASSED)) is kind


def test_tools_beside_a_form() -> None:
    """A call alone is asked for first, then the text."""
    plan = tool_plan("chat/completions", request(tools=TOOLS, response_format=FORM))
    assert plan is not None
    assert plan.again is not None
    assert type(plan.wrap(PASSED)) is CallsOrTextOfChat
    assert "response_format" not in json.loads(plan.request.body)
    assert json.loads(plan.again.body)["response_format"] == FORM


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        ("chat/completions", {}),
        ("chat/completions", {"tools": [], "response_format": FORM}),
        ("chat/completions", {"tools": TOOLS}),
        ("chat/completions", {"tools": TOOLS, "tool_choice": "none", "response_format": FORM}),
        ("messages", {"tools": TOOLS, "tool_choice": "required"}),
        ("completions", {"tools": TOOLS, "tool_choice": "required"}),
    ],
)
def test_others_are_asked_as_they_are(operation: str, said: dict[str, Any]) -> None:
    """The engine understands them."""
    assert tool_plan(operation, request(**said)) is None


def test_several_answers_cannot_be_asked_twice() -> None:
    """Which of them would call?"""
    with pytest.raises(ClientError, match="one response at a time"):
        tool_plan("chat/completions", request(tools=TOOLS, response_format=FORM, n=2))
