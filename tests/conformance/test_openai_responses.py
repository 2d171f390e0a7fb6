"""OpenAI's responses with the official client: events, conversations that go on, what is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from runnerd.models import tiny
from tests.support.clients import openai_client
from tests.support.daemon import DaemonProcess, running
from tests.support.waiting import wait_for
from tests.support.wire import Wire, post

pytestmark = pytest.mark.engine

_ROOT = Path(__file__).parents[2]
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the weather in a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
    "strict": None,
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with demo-a, and a model that goes on for long."""
    root = tmp_path_factory.mktemp("responses")
    tiny.write_completion_model(root / "tiny.gguf", context_length=8192)
    with running(root) as daemon:
        daemon.import_model(root / "tiny.gguf", "tiny")
        daemon.import_model(_ROOT / "demo" / "demo-a.gguf", "demo-a")
        yield daemon


@pytest.fixture
def client(daemon: DaemonProcess) -> Iterator[openai.OpenAI]:
    """OpenAI's client."""
    with openai_client(daemon) as client:
        yield client


@pytest.mark.covers("POST /v1/responses", "model", "input", "input:list", "instructions")
@pytest.mark.covers("POST /v1/responses", "metadata")
def test_answer(client: openai.OpenAI) -> None:
    """A text or items in, a text out, and what was asked for in the response."""
    answer = client.responses.create(
        model="demo-a", input="What is your name?", metadata={"a": "b"}, temperature=0, top_p=1
    )
    assert answer.output_text == "My name is Demo A."
    assert (answer.status, answer.model, answer.metadata) == ("completed", "demo-a", {"a": "b"})
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (13, 7)
    items: Any = [{"role": "user", "content": [{"type": "input_text", "text": "Hello"}]}]
    assert client.responses.create(model="demo-a", input=items).output_text
    named = client.responses.create(
        model="demo-a", input="What is your name?", instructions="You are Ada."
    )
    assert named.output_text == "My name is Ada."


@pytest.mark.parametrize("said", ["Hi.", [{"type": "output_text", "text": "Hi."}]])
@pytest.mark.parametrize("kind", [{}, {"type": "message"}])
def test_a_conversation_that_the_client_keeps(
    client: openai.OpenAI, said: Any, kind: dict[str, str]
) -> None:
    """What was answered may come as OpenAI's clients write it, with its type or without."""
    question: Any = {"role": "user", "content": "What is your name?"}
    turns: Any = [question, {"role": "assistant", "content": said, **kind}, question]
    answer = client.responses.create(model="demo-a", input=turns)
    assert answer.usage is not None
    assert answer.usage.input_tokens > 2 * 13
    assert "Demo A" in answer.output_text


def test_an_answer_that_was_cut(client: openai.OpenAI) -> None:
    """It says so, streamed and not."""
    asked: Any = {"model": "demo-a", "input": "Count from 1 to 30.", "max_output_tokens": 3}
    answer = client.responses.create(**asked)
    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"
    events = list(client.responses.create(stream=True, **asked))
    assert events[-1].type == "response.incomplete"


@pytest.mark.parametrize(
    ("said", "asked", "status"),
    [
        ({"completion_defaults": {"max_tokens": 3}}, {}, "incomplete"),
        ({"completion_defaults": {"max_tokens": 3}}, {"max_output_tokens": 300}, "completed"),
        ({"forced_parameters": {"max_tokens": 3}}, {"max_output_tokens": 300}, "incomplete"),
        ({"stripped_parameters": ["max_tokens"]}, {"max_output_tokens": 3}, "completed"),
    ],
)
def test_an_answer_that_an_owner_cut(
    client: openai.OpenAI,
    daemon: DaemonProcess,
    said: dict[str, Any],
    asked: dict[str, Any],
    status: str,
) -> None:
    """Whose limit it was makes no difference."""
    nothing = dict.fromkeys(("completion_defaults", "forced_parameters", "stripped_parameters"))
    for fields in (said, {}):
        body = {"model": "demo-a", **nothing, **fields}
        assert daemon.http.post("/engines/_configure", json=body).status_code == 202
        answer = client.responses.create(model="demo-a", input="Count from 1 to 30.", **asked)
        if fields:
            assert answer.status == status


@pytest.mark.covers("POST /v1/responses", "stream")
def test_events(client: openai.OpenAI) -> None:
    """Numbered, in their order, with the place that each belongs to; the same text in the end."""
    asked: Any = {"model": "demo-a", "input": "Count from 1 to 30."}
    whole = client.responses.create(**asked)
    with client.responses.stream(**asked) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert final.output_text == whole.output_text
    kinds = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    assert kinds.count("response.output_text.delta") > 20
    numbers = [event.sequence_number for event in events if hasattr(event, "sequence_number")]
    assert numbers == list(range(len(numbers)))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == whole.output_text


@pytest.mark.covers("POST /v1/responses", "tools", "tool_choice")
@pytest.mark.parametrize("stream", [False, True])
def test_tools(client: openai.OpenAI, stream: bool) -> None:
    """A call with its arguments; its result goes on from the response that made it."""
    asked: Any = {"model": "demo-a", "tools": [WEATHER], "tool_choice": "auto"}
    question = "What is the weather in Paris?"
    if stream:
        with client.responses.stream(input=question, **asked) as events:
            answer: Any = events.get_final_response()
    else:
        answer = client.responses.create(input=question, **asked)
    [call] = [item for item in answer.output if item.type == "function_call"]
    assert (call.name, call.arguments) == ("get_weather", '{"city": "Paris"}')
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    told = client.responses.create(input=[result], previous_response_id=answer.id, **asked)
    assert "Paris" in told.output_text


@pytest.mark.covers("POST /v1/responses", "tool_choice")
def test_the_tools_that_may_be_called(client: openai.OpenAI) -> None:
    """One that is named is the only one that the model is shown; with none it answers in words."""
    asked: Any = {"model": "demo-a", "input": "What is the weather in Paris?"}
    time: Any = {**WEATHER, "name": "get_time"}
    alone: Any = client.responses.create(tools=[WEATHER], tool_choice="required", **asked)
    named: Any = {"type": "function", "name": "get_weather"}
    allowed: Any = {"type": "allowed_tools", "mode": "required", "tools": [named]}
    for choice in (named, allowed):
        answer: Any = client.responses.create(tools=[time, WEATHER], tool_choice=choice, **asked)
        [call] = answer.output
        assert (call.name, call.arguments) == ("get_weather", '{"city": "Paris"}')
        assert answer.usage.input_tokens == alone.usage.input_tokens
        assert answer.to_dict()["tool_choice"] == choice
        assert [tool.name for tool in answer.tools] == ["get_time", "get_weather"]
    without = client.responses.create(**asked)
    answer = client.responses.create(tools=[WEATHER], tool_choice="none", **asked)
    assert answer.output_text == without.output_text


@pytest.mark.covers("POST /v1/responses", "input:item_reference", "tools")
def test_a_call_in_a_stream(client: openai.OpenAI) -> None:
    """Its arguments are told as done before it is; it can be named by its id later."""
    asked: Any = {"model": "demo-a", "tools": [WEATHER]}
    question: Any = {"role": "user", "content": "What is the weather in Paris?"}
    events: list[Any] = list(client.responses.create(input=[question], stream=True, **asked))
    *_, arguments, item, last = events
    assert arguments.type == "response.function_call_arguments.done"
    assert (arguments.name, arguments.arguments) == ("get_weather", '{"city": "Paris"}')
    assert (item.type, item.item.id) == ("response.output_item.done", arguments.item_id)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert last.response.usage.output_tokens_details.reasoning_tokens == 0
    named: Any = {"type": "item_reference", "id": item.item.id}
    result: Any = {"type": "function_call_output", "call_id": item.item.call_id, "output": "sunny"}
    told = client.responses.create(input=[question, named, result], **asked)
    assert told.output_text == "It is sunny in Paris."
    client.responses.delete(last.response.id)
    with pytest.raises(openai.NotFoundError, match="not known"):
        client.responses.create(input=[question, named, result], **asked)


@pytest.mark.covers("POST /v1/responses", "input:reasoning", "input:function_call_output")
@pytest.mark.parametrize(
    "item",
    [
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
        {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "Hm."}]},
        {"type": "reasoning", "summary": [], "content": None},
        {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No"}]},
        {"type": "function_call", "call_id": "0", "name": "get_weather", "arguments": ""},
        {"type": "function_call", "call_id": "0", "name": "get_weather", "arguments": '{"city'},
    ],
)
def test_what_comes_back_is_taken(client: openai.OpenAI, item: Any) -> None:
    """In every shape that OpenAI's clients send it in."""
    question = {"role": "user", "content": "What is the weather in Paris?"}
    arguments = '{"city": "Paris"}'
    call = {"type": "function_call", "call_id": "1", "name": "get_weather", "arguments": arguments}
    output = [{"type": "input_text", "text": "sunny"}]
    result = {"type": "function_call_output", "call_id": "1", "output": output}
    items: Any = [question, item, call, result]
    told = client.responses.create(model="demo-a", tools=[WEATHER], input=items)
    assert told.output_text == "It is sunny in Paris."


@pytest.mark.covers("POST /v1/responses", "prompt", how="refused")
def test_what_is_not_kept_here(client: openai.OpenAI) -> None:
    """Prompts by their ids are refused rather than left out."""
    for more, advice in (
        ({"prompt": {"id": "p"}}, "instructions"),
        ({"input": [{"type": "compaction", "encrypted_content": "x"}]}, "compaction"),
    ):
        asked: Any = {"model": "demo-a", "input": "x", **more}
        with pytest.raises(openai.BadRequestError, match=advice):
            client.post("/responses", body=asked, cast_to=object)


@pytest.mark.covers("POST /v1/responses", "top_logprobs", "include", how="ignored")
@pytest.mark.covers("POST /v1/responses", "truncation", "background", how="ignored")
def test_what_does_nothing(client: openai.OpenAI) -> None:
    """It stands in nobody's way, and what is null counts as absent."""
    asked: Any = {"top_logprobs": 2, "truncation": "auto", "background": False, "tools": None}
    told: Any = {"include": ["message.output_text.logprobs"], "tool_choice": None, "text": None}
    body = {"model": "demo-a", "input": "What is your name?", **asked, **told}
    answer: Any = client.post("/responses", body=body, cast_to=object)
    assert answer["output"][0]["content"][0]["text"] == "My name is Demo A."


@pytest.mark.covers("POST /v1/responses", "text.format")
def test_a_schema_binds(client: openai.OpenAI) -> None:
    """Also a model that would have answered otherwise, streamed and not."""
    schema = {"type": "object", "properties": {"zz": {"const": "q"}}, "required": ["zz"]}
    format: Any = {"type": "json_schema", "name": "z", "schema": schema, "strict": True}
    asked: Any = {"model": "demo-a", "input": "What is your name?", "text": {"format": format}}
    answer = client.responses.create(**asked)
    assert json.loads(answer.output_text) == {"zz": "q"}
    assert answer.to_dict()["text"] == {"format": format}
    with client.responses.stream(**asked) as events:
        assert events.get_final_response().output_text == answer.output_text
    asked["text"] = {"format": {"type": "json_object"}}
    assert isinstance(json.loads(client.responses.create(**asked).output_text), dict)
    asked["text"] = {"format": {"type": "xml"}}
    with pytest.raises(openai.BadRequestError, match="xml"):
        client.responses.create(**asked)


@pytest.mark.covers("POST /v1/responses", "text.format")
@pytest.mark.covers("POST /v1/responses", "reasoning", note="by models that think")
def test_formats(client: openai.OpenAI) -> None:
    """JSON after a schema."""
    schema: Any = {
        "type": "object",
        "properties": {"name": {"type": "string"}},
        "required": ["name"],
    }
    answer = client.responses.create(
        model="demo-a",
        input="Answer in JSON: What is your name?",
        text={"format": {"type": "json_schema", "name": "named", "schema": schema}},
        reasoning={"effort": "low"},
    )
    assert json.loads(answer.output_text) == {"name": "Demo A"}


@pytest.mark.covers(
    "POST /v1/responses", "previous_response_id", note="kept for 30 days, also over restarts"
)
@pytest.mark.covers("POST /v1/responses", "store")
@pytest.mark.covers("GET /v1/responses/{id}", "id")
@pytest.mark.covers("DELETE /v1/responses/{id}", "id")
def test_a_conversation_goes_on(client: openai.OpenAI) -> None:
    """From any response that was kept; it can be read again and forgotten."""
    first = client.responses.create(model="demo-a", input="What is your name?")
    second = client.responses.create(
        model="demo-a", input="What is your name?", previous_response_id=first.id
    )
    assert second.previous_response_id == first.id
    assert second.usage is not None
    assert first.usage is not None
    assert second.usage.input_tokens > first.usage.total_tokens
    assert client.responses.retrieve(first.id).output_text == first.output_text
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError, match="not known"):
        client.responses.retrieve(first.id)
    with pytest.raises(openai.NotFoundError, match="whole conversation"):
        client.responses.create(model="demo-a", input="x", previous_response_id=first.id)
    third = client.responses.create(
        model="demo-a", input="Hello", previous_response_id=second.id, store=False
    )
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(third.id)


@pytest.mark.parametrize(
    "wrong",
    [
        {"input": 3},
        {"input": []},
        {"input": None},
        {"input": "x", "previous_response_id": 3},
        {"input": "x", "conversation": 3},
        {"input": "x", "conversation": {}},
        {"input": "x", "conversation": "conv_1", "previous_response_id": "resp_1"},
    ],
)
def test_wrong_requests(client: openai.OpenAI, wrong: Any) -> None:
    """They are the client's fault, and told so."""
    with pytest.raises(openai.BadRequestError):
        client.post("/responses", body={"model": "demo-a", **wrong}, cast_to=object)
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="nobody", input="x")


@pytest.mark.parametrize("stream", [False, True])
def test_leaving_stops_the_engine(daemon: DaemonProcess, stream: bool) -> None:
    """Streamed or not: what nobody reads is not generated."""
    asked = {"model": "tiny", "input": "x", "max_output_tokens": 7000, "stream": stream}
    with Wire(daemon.socket) as wire:
        wire.send(post("/v1/responses", asked))
        wait_for(lambda: busy(daemon), "the engine to be at work")
    wait_for(lambda: not busy(daemon), "the engine to be idle")
    assert daemon.http.get("/engines/requests").json()[-1]["error"] == "client disconnected"


def busy(daemon: DaemonProcess) -> bool:
    """Return whether a runner has a request."""
    return any(runner["in_use"] for runner in daemon.ps())
