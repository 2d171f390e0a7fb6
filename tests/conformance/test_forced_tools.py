"""Calls that must be made, and tools together with a schema, in every API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runnerd.models import tiny
from tests.support.clients import anthropic_client, ollama_client, openai_client
from tests.support.daemon import DaemonProcess, running

pytestmark = pytest.mark.engine

_DEMO = Path(__file__).parents[2] / "demo"
_CITIES = ["Oslo", "Paris"]
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": _CITIES}},
    "required": ["city"],
}
TOOL: Any = {"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}
OTHER: Any = {"type": "function", "function": {"name": "stop", "parameters": {"const": {}}}}
NAMED: Any = {"type": "function", "function": {"name": "get_weather"}}
SCHEMA = {
    "type": "object",
    "properties": {"name": {"enum": ["Ada", "Demo"]}},
    "required": ["name"],
}
FORM: Any = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}
HELLO: Any = [{"role": "user", "content": "Hello"}]
WEATHER: Any = [{"role": "user", "content": "What is the weather in Oslo?"}]
MODELS = ["demo-a", "tiny"]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with a model that knows tools, and one that knows nothing and never ends."""
    root = tmp_path_factory.mktemp("forced")
    tiny.write_completion_model(root / "tiny.gguf")
    with running(root) as daemon:
        daemon.import_model(root / "tiny.gguf", "tiny")
        daemon.import_model(_DEMO / "demo-a.gguf", "demo-a")
        yield daemon


def arguments(text: str) -> Any:
    """A call's arguments, which follow the tool's schema."""
    found = json.loads(text)
    assert set(found) == {"city"}
    assert found["city"] in _CITIES
    return found


@pytest.mark.covers("POST /v1/chat/completions", "tool_choice", "tool_choice:function")
@pytest.mark.parametrize("choice", ["required", NAMED])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
def test_chat(daemon: DaemonProcess, choice: Any, model: str, stream: bool) -> None:
    """A call comes, and nothing else, whatever is said and whatever the model has learned."""
    asked: Any = {"model": model, "messages": HELLO, "tools": [TOOL], "tool_choice": choice}
    with openai_client(daemon) as client:
        if stream:
            with client.chat.completions.stream(**asked, max_tokens=100) as events:
                response: Any = events.get_final_completion()
        else:
            response = client.chat.completions.create(**asked, max_tokens=100)
    choice = response.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert not choice.message.content
    [call] = choice.message.tool_calls
    assert call.function.name == "get_weather"
    assert call.id
    arguments(call.function.arguments)
    if not stream:
        assert response.usage.completion_tokens > 0


def test_one_of_several_tools(daemon: DaemonProcess) -> None:
    """Any of them may be called, each with its own arguments; and a format beside has no say."""
    asked = {"model": "demo-a", "messages": HELLO, "tools": [OTHER, TOOL], "n": 2}
    asked |= {"tool_choice": "required", "response_format": FORM}
    document = daemon.http.post("/v1/chat/completions", json=asked).json()
    assert len(document["choices"]) == 2
    for choice in document["choices"]:
        [call] = choice["message"]["tool_calls"]
        assert call["function"]["name"] in ("get_weather", "stop")
        assert isinstance(json.loads(call["function"]["arguments"]), dict)


def test_a_call_that_was_cut(daemon: DaemonProcess) -> None:
    """The limit is the reason, and what there is of the call is told as one."""
    asked = {"model": "demo-a", "messages": HELLO, "tools": [TOOL], "tool_choice": "required"}
    document = daemon.http.post("/v1/chat/completions", json=asked | {"max_tokens": 9}).json()
    assert document["choices"][0]["finish_reason"] == "length"
    assert not document["choices"][0]["message"]["content"]


@pytest.mark.covers("POST /v1/responses", "tool_choice")
@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "get_weather"}])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
def test_responses(daemon: DaemonProcess, choice: Any, model: str, stream: bool) -> None:
    """The same in OpenAI's responses."""
    tool = {"type": "function", **TOOL["function"], "strict": None}
    asked: Any = {"model": model, "input": "Hello", "tools": [tool], "tool_choice": choice}
    with openai_client(daemon) as client:
        if stream:
            with client.responses.stream(**asked, max_output_tokens=100) as events:
                response: Any = events.get_final_response()
        else:
            response = client.responses.create(**asked, max_output_tokens=100)
    assert response.status == "completed"
    [call] = response.output
    assert (call.type, call.name) == ("function_call", "get_weather")
    arguments(call.arguments)


@pytest.mark.covers("POST /v1/messages", "tool_choice")
@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "get_weather"}])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
def test_messages(daemon: DaemonProcess, choice: Any, model: str, stream: bool) -> None:
    """The same in Anthropic's messages."""
    tool = {"name": "get_weather", "description": "", "input_schema": PARAMETERS}
    asked: Any = {"model": model, "messages": HELLO, "tools": [tool], "tool_choice": choice}
    with anthropic_client(daemon) as client:
        if stream:
            with client.messages.stream(**asked, max_tokens=100) as events:
                response: Any = events.get_final_message()
        else:
            response = client.messages.create(**asked, max_tokens=100)
    assert response.stop_reason == "tool_use"
    [block] = response.content
    assert (block.type, block.name) == ("tool_use", "get_weather")
    arguments(json.dumps(block.input))


def _said(text: str) -> None:
    assert json.loads(text)["name"] in ("Ada", "Demo")


@pytest.mark.covers(
    "POST /v1/chat/completions", "response_format:json_schema", note="beside tools, too"
)
@pytest.mark.parametrize("stream", [False, True])
def test_tools_and_schema_in_chats(daemon: DaemonProcess, stream: bool) -> None:
    """A call where there is one to make, else a text that follows the schema."""
    with openai_client(daemon) as client:

        def ask(model: str, messages: Any, form: Any = FORM) -> Any:
            asked: Any = {"model": model, "messages": messages, "tools": [TOOL]}
            asked |= {"response_format": form, "max_tokens": 100}
            if not stream:
                return client.chat.completions.create(**asked).choices[0]
            with client.chat.completions.stream(**asked) as events:
                return events.get_final_completion().choices[0]

        for form in (FORM, {"type": "json_object"}):
            called = ask("demo-a", WEATHER, form)
            assert called.finish_reason == "tool_calls"
            assert not called.message.content
            assert arguments(called.message.tool_calls[0].function.arguments) == {"city": "Oslo"}
        for model in MODELS:
            text = ask(model, HELLO)
            assert not text.message.tool_calls
            _said(text.message.content)


def test_an_answer_at_a_time(daemon: DaemonProcess) -> None:
    """Several responses, of which each may be either, are not to be had."""
    asked = {"model": "demo-a", "messages": HELLO, "tools": [TOOL], "response_format": FORM}
    response = daemon.http.post("/v1/chat/completions", json=asked | {"n": 2})
    assert response.status_code == 400
    assert "one response at a time" in response.json()["error"]["message"]


@pytest.mark.covers("POST /v1/responses", "text.format", note="beside tools, too")
@pytest.mark.parametrize("stream", [False, True])
def test_tools_and_schema_in_responses(daemon: DaemonProcess, stream: bool) -> None:
    """The same in OpenAI's responses."""
    tool = {"type": "function", **TOOL["function"], "strict": None}
    form = {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}}
    with openai_client(daemon) as client:

        def ask(text: str) -> Any:
            asked: Any = {"model": "demo-a", "input": text, "tools": [tool], "text": form}
            if not stream:
                return client.responses.create(**asked)
            with client.responses.stream(**asked) as events:
                return events.get_final_response()

        [call] = ask(WEATHER[0]["content"]).output
        assert arguments(call.arguments) == {"city": "Oslo"}
        _said(ask("Hello").output_text)


@pytest.mark.covers("POST /v1/messages", "output_config", note="beside tools, too")
@pytest.mark.parametrize("stream", [False, True])
def test_tools_and_schema_in_messages(daemon: DaemonProcess, stream: bool) -> None:
    """The same in Anthropic's messages."""
    tool = {"name": "get_weather", "description": "", "input_schema": PARAMETERS}
    config: Any = {"format": {"type": "json_schema", "schema": SCHEMA}}
    with anthropic_client(daemon) as client:

        def ask(messages: Any) -> Any:
            asked: Any = {"model": "demo-a", "messages": messages, "tools": [tool]}
            asked |= {"output_config": config, "max_tokens": 100}
            if not stream:
                return client.messages.create(**asked)
            with client.messages.stream(**asked) as events:
                return events.get_final_message()

        called = ask(WEATHER)
        assert called.stop_reason == "tool_use"
        assert called.content[0].input == {"city": "Oslo"}
        text = ask(HELLO)
        assert text.stop_reason == "end_turn"
        _said(text.content[0].text)


@pytest.mark.covers("POST /api/chat", "format", note="beside tools, too")
@pytest.mark.parametrize("stream", [False, True])
def test_tools_and_format_in_ollama(daemon: DaemonProcess, stream: bool) -> None:
    """The same in Ollama's chats."""
    with ollama_client(daemon) as client:

        def ask(messages: Any) -> Any:
            asked: Any = {
                "model": "demo-a",
                "messages": messages,
                "tools": [TOOL],
                "format": SCHEMA,
            }
            if not stream:
                return client.chat(**asked).message
            parts = [part.message for part in client.chat(stream=True, **asked)]
            calls = [call for part in parts for call in part.tool_calls or []]
            parts[0].content = "".join(part.content or "" for part in parts)
            parts[0].tool_calls = calls
            return parts[0]

        called = ask(WEATHER)
        assert not called.content
        assert called.tool_calls[0].function.arguments == {"city": "Oslo"}
        text = ask(HELLO)
        assert not text.tool_calls
        _said(text.content)


def test_streams_begin_with_the_call(daemon: DaemonProcess) -> None:
    """No text is shown in front of a forced call, not even an empty one."""
    asked = {"model": "demo-a", "messages": HELLO, "tools": [TOOL], "tool_choice": "required"}
    lines = daemon.http.post("/v1/chat/completions", json=asked | {"stream": True}).text
    chunks = [json.loads(line[6:]) for line in lines.split("\n\n") if line.startswith("data: {")]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert not any(delta.get("content") for delta in deltas)
    assert [delta for delta in deltas if delta.get("tool_calls")]
    assert lines.endswith("data: [DONE]\n\n")
