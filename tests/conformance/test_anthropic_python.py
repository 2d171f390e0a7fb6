"""The real `anthropic` Python client, unmodified, against the daemon with models that answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import anthropic
import pydantic
import pytest

from tests.support.clients import anthropic_client
from tests.support.daemon import DaemonProcess, running
from tests.support.waiting import wait_for

pytestmark = pytest.mark.engine

_ROOT = Path(__file__).parents[2]
NAME: Any = [{"role": "user", "content": "What is your name?"}]
WEATHER: Any = {
    "name": "get_weather",
    "description": "Get the weather in a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
ASKED: Any = {"model": "demo-a", "max_tokens": 200}  # the models themselves are greedy


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with demo-a."""
    with running(tmp_path_factory.mktemp("anthropic")) as daemon:
        daemon.import_model(_ROOT / "demo" / "demo-a.gguf", "demo-a")
        yield daemon


@pytest.fixture(params=["", "/anthropic"])
def client(daemon: DaemonProcess, request: pytest.FixtureRequest) -> Iterator[anthropic.Anthropic]:
    """Anthropic's client, on both addresses that people configure."""
    with anthropic_client(daemon, request.param) as client:
        yield client


@pytest.mark.covers("POST /v1/messages", "model", "messages")
def test_message(client: anthropic.Anthropic) -> None:
    """A whole message, with the engine's counts."""
    message = client.messages.create(messages=NAME, **ASKED)
    [block] = message.content
    assert block.type == "text"
    assert block.text == "My name is Demo A."
    assert (message.role, message.stop_reason) == ("assistant", "end_turn")
    assert re.fullmatch(r"msg_[A-Za-z0-9]{16,}", message.id)
    usage = message.usage
    assert usage.input_tokens + (usage.cache_read_input_tokens or 0) == 13
    assert usage.output_tokens == 7


@pytest.mark.covers("POST /v1/messages", "request-id")
@pytest.mark.covers("Anthropic errors", "request-id")
def test_request_ids(client: anthropic.Anthropic) -> None:
    """The client finds them in answers, streams and errors, as X-Request-Id has them."""
    found = [client.messages.create(messages=NAME, **ASKED)._request_id for _ in range(3)]
    with client.messages.stream(messages=NAME, **ASKED) as stream:
        stream.until_done()
        found.append(stream.request_id)
        assert stream.response.headers["x-request-id"] == stream.request_id
    mistakes: list[dict[str, Any]] = [{"model": "unheard-of"}, {"messages": []}]
    for wrong in mistakes:
        with pytest.raises(anthropic.APIStatusError) as error:
            client.messages.create(**({"messages": NAME} | ASKED | wrong))
        found.append(error.value.request_id)
    assert None not in found
    assert len(set(found)) == 6
    own = {"x-request-id": "mine-1"}
    answer = client.messages.with_raw_response.create(messages=NAME, extra_headers=own, **ASKED)
    assert answer.headers["request-id"] == answer.headers["x-request-id"] == "mine-1"


@pytest.mark.covers("POST /v1/messages", "system", "system:blocks", "max_tokens")
def test_system_and_limits(client: anthropic.Anthropic) -> None:
    """The system message and the limit of tokens act."""
    named = client.messages.create(messages=NAME, system="You are Ada.", **ASKED)
    assert named.content[0].type == "text"
    assert named.content[0].text == "My name is Ada."
    blocks: Any = [{"type": "text", "text": "You are Ada.", "cache_control": {"type": "ephemeral"}}]
    again = client.messages.create(messages=NAME, system=blocks, **ASKED)
    assert again.to_dict()["content"] == named.to_dict()["content"]
    cut = client.messages.create(messages=NAME, **(ASKED | {"max_tokens": 3}))
    assert cut.stop_reason == "max_tokens"


@pytest.mark.covers("POST /v1/messages", "stop_sequences")
@pytest.mark.covers("POST /v1/messages", "metadata", how="ignored")
def test_sampling(client: anthropic.Anthropic) -> None:
    """What the engine can do with a response; the text that ended it is named."""
    more: Any = {"temperature": 0, "top_k": 5, "top_p": 0.9, "metadata": {"user_id": "me"}}
    cut = client.messages.create(messages=NAME, stop_sequences=[" Demo"], extra_body=more, **ASKED)
    assert cut.content[0].type == "text"
    assert cut.content[0].text == "My name is"
    assert (cut.stop_reason, cut.stop_sequence) == ("stop_sequence", " Demo")
    with client.messages.stream(messages=NAME, stop_sequences=[" Demo"], **ASKED) as stream:
        final = stream.get_final_message()
    assert (final.stop_reason, final.stop_sequence) == ("stop_sequence", " Demo")


@pytest.mark.covers(
    "POST /v1/messages", "thinking", note="by models that think; others answer without"
)
def test_thinking(client: anthropic.Anthropic) -> None:
    """Asking for it is no error with a model that does not."""
    for thinking in ({"type": "enabled", "budget_tokens": 1024}, {"type": "disabled"}):
        asked: Any = ASKED | {"thinking": thinking, "max_tokens": 2000}
        message = client.messages.create(messages=NAME, **asked)
        assert message.content[-1].to_dict()["text"] == "My name is Demo A."


_STILL = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% if enable_thinking is false %}"
    "<think>\n\n</think>\n\n{% endif %}{% endif %}"
)


@pytest.mark.covers("POST /v1/messages", "thinking:disabled", note="told to the model's template")
def test_thinking_is_switched_off(daemon: DaemonProcess, client: anthropic.Anthropic) -> None:
    """The model's template learns of it, in a message and in its count."""
    made = {"model": "still", "from": "demo-a", "template": _STILL, "stream": False}
    assert daemon.http.post("/api/create", json=made).status_code == 200
    asked: Any = {"model": "still", "messages": NAME}
    kwargs = {"chat_template_kwargs": {"enable_thinking": True, "other": 1}}
    on = client.messages.count_tokens(extra_body=kwargs, **asked).input_tokens
    asked["thinking"] = {"type": "disabled"}
    off = client.messages.count_tokens(extra_body=kwargs, **asked).input_tokens
    assert off > on
    answer = client.messages.create(max_tokens=1, extra_body=kwargs, **asked)
    assert _prompt(answer) == off


@pytest.mark.covers("POST /v1/messages", "document:text", "document:content", "search_result")
def test_documents(client: anthropic.Anthropic) -> None:
    """Their text is told to the model, beside the question and in a tool's result."""
    text = {"type": "text", "text": "Repeat"}
    source = {"type": "text", "media_type": "text/plain", "data": '"blue socket 17".'}
    parts = {"type": "content", "content": [{"type": "text", "text": '"blue socket 17".'}]}
    found = {"source": "a/b", "title": "Sockets", "content": parts["content"]}
    documents: list[Any] = [
        {"type": "document", "source": source, "title": "Sockets", "citations": {"enabled": False}},
        {"type": "document", "source": parts},
        {"type": "search_result", **found},
    ]
    counts = []
    for block in documents:
        messages: Any = [{"role": "user", "content": [text, block]}]
        counts.append(client.messages.count_tokens(model="demo-a", messages=messages).input_tokens)
        answer = client.messages.create(messages=messages, **ASKED)
        assert _prompt(answer) == counts[-1]
        inside = [{"type": "tool_result", "tool_use_id": "t", "content": [block]}]
        told: Any = [{"role": "user", "content": inside}]
        assert client.messages.create(messages=told, **ASKED).stop_reason
    alone: Any = [{"role": "user", "content": [text]}]
    without = client.messages.count_tokens(model="demo-a", messages=alone).input_tokens
    assert min(counts) > without + 4
    plain: Any = [{"role": "user", "content": [{**documents[0], "title": None}]}]
    plain[0]["content"][0]["source"] = {**source, "data": "What is your name?"}
    assert client.messages.create(messages=plain, **ASKED).to_dict()["content"] == [
        {"type": "text", "text": "My name is Demo A."}
    ]


@pytest.mark.covers("POST /v1/messages", "document:base64", "document:url", how="refused")
@pytest.mark.parametrize(
    "source",
    [
        {"type": "base64", "media_type": "application/pdf", "data": "AA=="},
        {"type": "url", "url": "http://127.0.0.1/x.pdf"},
        {"type": "file", "file_id": "x"},
    ],
)
def test_documents_that_are_files(client: anthropic.Anthropic, source: Any) -> None:
    """Refused rather than left out."""
    messages: Any = [{"role": "user", "content": [{"type": "document", "source": source}]}]
    with pytest.raises(anthropic.BadRequestError, match="as text"):
        client.messages.create(messages=messages, **ASKED)


class _Odd(pydantic.BaseModel):
    zz: Literal["q"]


@pytest.mark.covers("POST /v1/messages", "output_config")
def test_a_schema_binds(client: anthropic.Anthropic) -> None:
    """Also a model that would have answered otherwise, streamed and not, with the same counts."""
    told = client.messages.parse(messages=NAME, output_format=_Odd, **ASKED)
    assert told.parsed_output == _Odd(zz="q")
    assert told.stop_reason == "end_turn"
    assert _prompt(told) == client.messages.count_tokens(model="demo-a", messages=NAME).input_tokens
    with client.messages.stream(messages=NAME, output_format=_Odd, **ASKED) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_message()
    assert final.parsed_output == _Odd(zz="q")
    assert _prompt(final) == _prompt(told)
    assert final.usage.output_tokens == told.usage.output_tokens
    assert re.fullmatch(r"msg_[A-Za-z0-9]{16,}", final.id)
    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")
    old = {"output_format": {"type": "json_schema", "schema": _Odd.model_json_schema()}}
    answer = client.messages.create(messages=NAME, extra_body=old, **ASKED)
    assert answer.content[0].to_dict()["text"] == told.content[0].to_dict()["text"]
    cut = client.messages.create(messages=NAME, extra_body=old, model="demo-a", max_tokens=2)
    assert (cut.stop_reason, cut.usage.output_tokens) == ("max_tokens", 2)


def test_a_schema_in_a_conversation(client: anthropic.Anthropic) -> None:
    """Everything else that a request says acts as without one."""
    call = {"type": "tool_use", "id": "t", "name": "get_weather", "input": {"city": "Paris"}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "x"}]}
    document = {"type": "text", "media_type": "text/plain", "data": "Read this."}
    messages: Any = [
        {"role": "user", "content": [{"type": "document", "source": document}]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm", "signature": ""}]},
        {"role": "user", "content": "What is the weather in Paris?"},
        {"role": "assistant", "content": [{"type": "text", "text": "I look."}, call]},
        {"role": "user", "content": [result, {"type": "text", "text": "What is your name?"}]},
    ]
    system: Any = [{"type": "text", "text": "You are Ada."}]
    more: Any = {"system": system, "tools": [WEATHER], "messages": messages}
    format: Any = {"type": "json_schema", "schema": {"const": "My name is Ada."}}
    answer = client.messages.create(output_config={"format": format}, **more, **ASKED)
    assert answer.to_dict()["content"] == [{"type": "text", "text": '"My name is Ada."'}]
    assert _prompt(answer) == client.messages.count_tokens(model="demo-a", **more).input_tokens


@pytest.mark.parametrize(
    "wrong",
    [
        {"output_config": {"format": {"type": "json_schema"}}},
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": 3}}}},
        {"output_config": {"format": 3}},
        {"output_config": None, "output_format": {"type": "json_schema", "schema": []}},
        {"system": 3},
        {"tools": 3},
        {"tools": [3]},
        {"messages": [{"role": "user", "content": 3}]},
    ],
)
def test_schemas_that_are_none(client: anthropic.Anthropic, wrong: Any) -> None:
    """They are the client's fault, and told so, beside a schema or in it."""
    format: Any = {"format": {"type": "json_schema", "schema": {"type": "object"}}}
    body = {**ASKED, "messages": NAME, "output_config": format, **wrong}
    with pytest.raises(anthropic.BadRequestError):
        client.post("/v1/messages", body=body, cast_to=object)


@pytest.mark.covers("GET /v1/models", "list")
@pytest.mark.covers("GET /v1/models/{id}", "id")
def test_models(client: anthropic.Anthropic) -> None:
    """Listed as Anthropic's clients know them, for their header."""
    found = [model for model in client.models.list() if "demo-a" in model.id]
    assert [(model.type, model.display_name) for model in found] == [("model", "ai/demo-a:latest")]
    one = client.models.retrieve("demo-a")
    assert (one.id, one.created_at) == (found[0].id, found[0].created_at)
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("nobody")


@pytest.mark.covers("POST /v1/messages", "stream")
def test_stream(client: anthropic.Anthropic) -> None:
    """Events in their order, and the same message in the end."""
    question: Any = [{"role": "user", "content": "Count from 1 to 30."}]
    whole = client.messages.create(messages=question, **ASKED)
    with client.messages.stream(messages=question, **ASKED) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_message()
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"
    assert kinds.count("content_block_delta") > 20
    assert [block.type for block in final.content] == ["text"]
    assert final.to_dict()["content"][0]["text"] == whole.to_dict()["content"][0]["text"]  # type: ignore[index]
    assert final.usage.output_tokens == whole.usage.output_tokens


@pytest.mark.covers("POST /v1/messages", "tools", "tool_choice", "tool_result")
@pytest.mark.parametrize("stream", [False, True])
def test_tools(client: anthropic.Anthropic, stream: bool) -> None:
    """A tool call with its input as an object, and the response that its result makes."""
    messages: list[Any] = [{"role": "user", "content": "What is the weather in Paris?"}]
    if stream:
        with client.messages.stream(messages=messages, tools=[WEATHER], **ASKED) as events:
            answer = events.get_final_message()
    else:
        answer = client.messages.create(messages=messages, tools=[WEATHER], **ASKED)
    assert answer.stop_reason == "tool_use"
    [call] = [block for block in answer.content if block.type == "tool_use"]
    assert (call.name, call.input) == ("get_weather", {"city": "Paris"})
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "It is sunny."}
    messages += [
        {"role": "assistant", "content": [block.to_dict() for block in answer.content]},
        {"role": "user", "content": [result]},
    ]
    choice: Any = {"type": "auto"}
    told = client.messages.create(messages=messages, tools=[WEATHER], tool_choice=choice, **ASKED)
    assert "Paris" in told.to_dict()["content"][0]["text"]


@pytest.mark.covers("POST /v1/messages", "tool_choice")
def test_the_tools_that_may_be_called(client: anthropic.Anthropic) -> None:
    """One that is named is the only one that the model is shown; with none it answers in words."""
    question: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
    time: Any = {**WEATHER, "name": "get_time"}
    asked: Any = ASKED | {"messages": question}
    alone = client.messages.create(tools=[WEATHER], tool_choice={"type": "any"}, **asked)
    named: Any = {"type": "tool", "name": "get_weather"}
    answer = client.messages.create(tools=[time, WEATHER], tool_choice=named, **asked)
    assert answer.to_dict()["content"][0]["input"] == {"city": "Paris"}
    assert _prompt(answer) == _prompt(alone)
    without = client.messages.create(**asked)
    answer = client.messages.create(tools=[WEATHER], tool_choice={"type": "none"}, **asked)
    assert answer.to_dict()["content"] == without.to_dict()["content"]
    with pytest.raises(anthropic.BadRequestError, match="get_time"):
        client.messages.create(tools=[WEATHER], tool_choice=named | {"name": "get_time"}, **asked)


def test_a_text_behind_a_result(client: anthropic.Anthropic) -> None:
    """Stays behind it: the model sees the call, its result, and what is asked then."""
    call = {"type": "tool_use", "id": "t", "name": "get_weather", "input": {"city": "Paris"}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": "It is sunny."}
    question = {"type": "text", "text": "What is your name?"}
    messages: Any = [
        {"role": "user", "content": "What is the weather in Paris?"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result, question]},
    ]
    answer = client.messages.create(messages=messages, tools=[WEATHER], **ASKED)
    assert answer.to_dict()["content"] == [{"type": "text", "text": "My name is Demo A."}]


def test_a_call_begins_with_an_input(client: anthropic.Anthropic) -> None:
    """The event that begins it has all that Anthropic's has."""
    question: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
    raw: Any = client.messages.create(messages=question, tools=[WEATHER], stream=True, **ASKED)
    [begun] = [event for event in raw if event.type == "content_block_start"]
    assert begun.content_block.to_dict()["input"] == {}


def _prompt(message: anthropic.types.Message) -> int:
    return message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0)


@pytest.mark.covers("POST /v1/messages/count_tokens", "model", "messages")
def test_tokens_are_counted(client: anthropic.Anthropic) -> None:
    """Without generating anything."""
    count = client.messages.count_tokens(model="demo-a", messages=NAME)
    assert count.input_tokens == 13


@pytest.mark.covers(
    "POST /v1/messages",
    "image:base64",
    how="refused",
    note="400 where the model has no projector; with one they pass",
)
@pytest.mark.covers(
    "POST /v1/messages", "image:url", how="refused", note="the daemon fetches nothing"
)
@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"type": "base64", "media_type": "image/png", "data": "AA=="}, "not support"),
        ({"type": "url", "url": "http://127.0.0.1/x.png"}, "inline"),
    ],
)
def test_pictures(client: anthropic.Anthropic, source: Any, message: str) -> None:
    """An address is refused wherever it stands, also inside a tool's result."""
    image = {"type": "image", "source": source}
    inside = {"type": "tool_result", "tool_use_id": "t", "content": [image]}
    for block in (image, inside) if source["type"] == "url" else (image,):
        messages: Any = [{"role": "user", "content": [block]}]
        with pytest.raises(anthropic.BadRequestError, match=message):
            client.messages.create(messages=messages, **ASKED)


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"model":"demo-a","messages":"x"}', b"\xff"])
def test_bodies_that_are_none(daemon: DaemonProcess, body: bytes) -> None:
    """Refused in Anthropic's shape, on both routes."""
    for path in ("/v1/messages", "/v1/messages/count_tokens"):
        answer = daemon.http.post(path, content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400
        assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.covers("Anthropic errors", "400", "404")
def test_errors_have_their_classes(client: anthropic.Anthropic) -> None:
    """The SDK's exceptions follow from status and shape."""
    with pytest.raises(anthropic.NotFoundError, match="not found") as caught:
        client.messages.create(messages=NAME, **(ASKED | {"model": "nobody"}))
    body: Any = caught.value.body
    assert body["error"]["type"] == "not_found_error"
    with pytest.raises(anthropic.BadRequestError, match=r"prompt is too long: \d+ tokens > 2048 "):
        client.messages.create(messages=[{"role": "user", "content": "x" * 50_000}], **ASKED)
    with pytest.raises(anthropic.NotFoundError):
        client.messages.count_tokens(model="nobody", messages=NAME)


def test_leaving_stops_the_engine(client: anthropic.Anthropic, daemon: DaemonProcess) -> None:
    """A client that closes its stream leaves nothing running, and is recorded with its origin."""
    question: Any = [{"role": "user", "content": "Count from 1 to 100."}]
    with client.messages.stream(messages=question, **ASKED) as stream:
        next(iter(stream))
    wait_for(lambda: not any(runner["in_use"] for runner in daemon.ps()), "the engine to be idle")
    assert daemon.http.get("/engines/requests").json()[0]["origin"] == "anthropic/messages"
