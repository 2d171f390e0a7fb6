"""runnerd.relay.request_rewrites.forced_calls: a call is asked for as a response after a schema."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runnerd.relay.parsed_request import ParsedRequest, parse
from runnerd.relay.request_rewrites.forced_calls import (
    calls_alone,
    has_form,
    text_alone,
    with_forced_call,
)

FORM = {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}


def tool(name: str, **parameters: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def request(**said: Any) -> ParsedRequest:
    return parse(json.dumps({"model": "m", "messages": [], **said}).encode())


def schema_of(found: ParsedRequest) -> Any:
    return json.loads(found.body)["response_format"]["json_schema"]["schema"]


def test_the_schema_is_that_of_a_call() -> None:
    """Of any of the tools, each by its name; the model is shown them as before."""
    weather = tool("weather", type="object", properties={"city": {"type": "string"}})
    found = with_forced_call(request(tools=[weather, tool("time")], tool_choice="required"))
    assert found is not None
    schema = schema_of(found)
    names = [call["properties"]["name"]["const"] for call in schema["anyOf"]]
    assert names == ["weather", "time"]
    for call in schema["anyOf"]:
        place = call["properties"]["arguments"]["$ref"].removeprefix("#/$defs/")
        assert schema["$defs"][place]["type"] == "object"
    assert json.loads(found.body)["tool_choice"] == "none"
    assert json.loads(found.body)["tools"] == [weather, tool("time")]


def test_one_tool_is_no_choice() -> None:
    """And what the text was to be like does not matter any more."""
    said = request(tools=[tool("f")], tool_choice="required", json_schema={"type": "string"})
    found = with_forced_call(said)
    assert found is not None
    assert schema_of(found)["properties"]["name"] == {"const": "f"}
    assert "json_schema" not in json.loads(found.body)


@pytest.mark.parametrize(
    "said",
    [
        {"tools": [tool("f")]},
        {"tools": [tool("f")], "tool_choice": "auto"},
        {"tool_choice": "required"},
        {"tools": [], "tool_choice": "required"},
        {"tools": {"no": "list"}, "tool_choice": "required"},
        {"tools": [{"type": "function", "function": {}}], "tool_choice": "required"},
    ],
)
def test_nothing_else_is_forced(said: dict[str, Any]) -> None:
    """What is wrong with the tools the engine says."""
    assert with_forced_call(request(**said)) is None


@pytest.mark.parametrize(
    ("said", "has"),
    [
        ({}, False),
        ({"response_format": None}, False),
        ({"response_format": {"type": "text"}}, False),
        ({"response_format": {"type": "json_object"}}, True),
        ({"response_format": FORM}, True),
        ({"json_schema": {"type": "object"}}, True),
        ({"response_format": "odd"}, False),
    ],
)
def test_a_text_has_a_form_or_not(said: dict[str, Any], has: bool) -> None:
    """Which decides whether a model with tools is asked twice."""
    assert has_form(request(**said)) is has


def test_the_two_questions() -> None:
    """First for a call as the model has learned to, then for the text in its form."""
    both = request(tools=[tool("f")], response_format=FORM)
    first, second = json.loads(calls_alone(both).body), json.loads(text_alone(both).body)
    assert "response_format" not in first
    assert first["tools"] == second["tools"] == [tool("f")]
    assert (second["response_format"], second["tool_choice"]) == (FORM, "none")
