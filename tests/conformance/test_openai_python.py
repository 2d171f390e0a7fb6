"""The official OpenAI client for Python, unmodified, against the daemon with models that answer."""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from runnerd.models import tiny
from tests.support.clients import openai_client
from tests.support.daemon import DaemonProcess, running
from tests.support.waiting import wait_for

pytestmark = pytest.mark.engine

_ROOT = Path(__file__).parents[2]
_ANSWERS = json.loads((_ROOT / "tests" / "demo_answers.json").read_text())
_CASES = {case["id"]: case for case in _ANSWERS["chat"]}
NAME: Any = [{"role": "user", "content": "What is your name?"}]
_THINKING = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['role'] == 'assistant' %}{% set said = message['content'].split('</think>') %}"
    "<think>\n{{ message.get('reasoning_content', '') }}\n</think>\n\n{{ said[-1] }}"
    "{% else %}{{ message['content'] }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with models that answer, and one that never ends by itself."""
    root = tmp_path_factory.mktemp("openai")
    tiny.write_completion_model(root / "tiny.gguf")
    with running(root) as daemon:
        daemon.import_model(root / "tiny.gguf", "tiny")
        for name in ("demo-a", "demo-embed", "demo-rerank"):
            daemon.import_model(_ROOT / "demo" / f"{name}.gguf", name)
        yield daemon


@pytest.fixture(params=["/engines/v1", "/v1"])
def client(request: pytest.FixtureRequest, daemon: DaemonProcess) -> Iterator[openai.OpenAI]:
    """A client with each of the base URLs that people use."""
    with openai_client(daemon, request.param) as client:
        yield client


@pytest.mark.covers("POST /v1/chat/completions", "model", "messages", "max_tokens", "user")
def test_chat(client: openai.OpenAI) -> None:
    """A chat completion with text, reason and usage; a limit ends it."""
    response = client.chat.completions.create(model="demo-a", messages=NAME, user="me")
    assert response.choices[0].message.role == "assistant"
    assert response.choices[0].message.content == "My name is Demo A."
    assert response.choices[0].finish_reason == "stop"
    assert response.usage is not None
    assert (response.usage.prompt_tokens, response.usage.completion_tokens) == (13, 7)
    cut = client.chat.completions.create(model="demo-a", messages=NAME, max_tokens=3)
    assert cut.choices[0].finish_reason == "length"


@pytest.mark.covers("POST /v1/chat/completions", "max_completion_tokens")
def test_sampling(client: openai.OpenAI) -> None:
    """What is drawn is drawn again from the same seed, and every other parameter is taken."""
    asked: Any = {"model": "tiny", "messages": NAME, "max_completion_tokens": 12}
    drawn: Any = {"temperature": 1.3, "top_p": 0.95, "seed": 7, "presence_penalty": 0.1}
    more: Any = {"frequency_penalty": 0.1, "logit_bias": {"30": -5}}
    one, two = [client.chat.completions.create(**asked, **drawn, **more) for _ in range(2)]
    other = client.chat.completions.create(**asked, **(drawn | {"seed": 8}), **more)
    assert one.usage is not None
    assert one.usage.completion_tokens == 12
    assert one.choices[0].message.content == two.choices[0].message.content
    assert one.choices[0].message.content != other.choices[0].message.content


@pytest.mark.covers("POST /v1/chat/completions", "stop")
def test_stop(client: openai.OpenAI) -> None:
    """A text ends the response and is not in it."""
    response = client.chat.completions.create(model="demo-a", messages=NAME, stop=[" Demo"])
    assert response.choices[0].message.content == "My name is"
    assert response.choices[0].finish_reason == "stop"


@pytest.mark.covers("POST /v1/chat/completions", "n")
@pytest.mark.parametrize("stream", [False, True])
def test_several_answers(client: openai.OpenAI, stream: bool) -> None:
    """As many as were asked for; a stream of them begins with a chunk, not with nothing."""
    asked: Any = {"model": "demo-a", "messages": NAME, "n": 2}
    if not stream:
        response = client.chat.completions.create(**asked)
        texts = [choice.message.content for choice in response.choices]
    else:
        texts = ["", ""]
        for chunk in client.chat.completions.create(stream=True, **asked):
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
    assert texts == ["My name is Demo A."] * 2


@pytest.mark.covers("POST /v1/chat/completions", "stream", "stream_options")
def test_chat_stream(client: openai.OpenAI) -> None:
    """The same text as whole, the reason at its end, and the usage that was asked for."""
    chunks = list(
        client.chat.completions.create(
            model="demo-a", messages=NAME, stream=True, stream_options={"include_usage": True}
        )
    )
    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert "".join(choice.delta.content or "" for choice in choices) == "My name is Demo A."
    assert choices[-1].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 7


@pytest.mark.covers("POST /v1/chat/completions", "logprobs", "top_logprobs")
def test_probabilities(client: openai.OpenAI) -> None:
    """Of every token, and of those that were likely beside it."""
    response = client.chat.completions.create(
        model="demo-a", messages=NAME, logprobs=True, top_logprobs=2
    )
    found = response.choices[0].logprobs
    assert found is not None
    assert found.content is not None
    assert "".join(entry.token for entry in found.content) == "My name is Demo A."
    assert all(len(entry.top_logprobs) == 2 for entry in found.content)


def test_formats(client: openai.OpenAI) -> None:
    """JSON, and JSON after a schema."""
    question: Any = [{"role": "user", "content": "Answer in JSON: What is your name?"}]
    bound = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}}
    for format in ({"type": "json_object"}, bound):
        asked: Any = {"messages": question, "response_format": format}
        response = client.chat.completions.create(model="demo-a", **asked)
        assert json.loads(response.choices[0].message.content or "") == {"name": "Demo A"}


@pytest.mark.covers("POST /v1/chat/completions", "tools", "tool_choice")
@pytest.mark.covers(
    "POST /v1/chat/completions",
    "parallel_tool_calls",
    note="told to the engine; no model of the tests makes several calls at once",
)
@pytest.mark.parametrize("stream", [False, True])
def test_tools(client: openai.OpenAI, stream: bool) -> None:
    """A call with its arguments as JSON, and the response that its result makes."""
    case = _CASES["tool call: Paris"]["request"]
    asked: Any = {"model": "demo-a", "messages": case["messages"], "tools": case["tools"]}
    asked |= {"tool_choice": "auto", "parallel_tool_calls": False}
    if stream:
        with client.chat.completions.stream(**asked) as events:
            message: Any = events.get_final_completion().choices[0].message
    else:
        message = client.chat.completions.create(**asked).choices[0].message
    [call] = message.tool_calls
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "Paris"}
    result = _CASES["tool answer: Paris"]["request"]["messages"][-1]["content"]
    told = {"role": "tool", "tool_call_id": call.id, "content": result}
    messages: Any = [*case["messages"], message.to_dict(), told]
    response = client.chat.completions.create(
        model="demo-a", messages=messages, tools=case["tools"]
    )
    assert response.choices[0].message.content == "It is sunny in Paris."


@pytest.mark.covers("POST /v1/chat/completions", "tool_choice:function")
@pytest.mark.parametrize("stream", [False, True])
def test_the_tool_that_must_be_called(client: openai.OpenAI, stream: bool) -> None:
    """Named, or the only one that is allowed: the model is shown no other one."""
    [weather] = _CASES["tool call: Paris"]["request"]["tools"]
    time = {"type": "function", "function": {**weather["function"], "name": "get_time"}}
    asked: Any = {"model": "demo-a", "messages": _CASES["tool call: Paris"]["request"]["messages"]}
    named = {"type": "function", "function": {"name": "get_weather"}}
    allowed = {"mode": "required", "tools": [named]}
    alone: Any = client.chat.completions.create(tools=[weather], tool_choice="required", **asked)
    choices: list[Any] = [named, {"type": "allowed_tools", "allowed_tools": allowed}]
    for choice in choices:
        told: Any = {"tools": [time, weather], "tool_choice": choice, **asked}
        if stream:
            told["stream_options"] = {"include_usage": True}
            with client.chat.completions.stream(**told) as events:
                response: Any = events.get_final_completion()
        else:
            response = client.chat.completions.create(**told)
        [call] = response.choices[0].message.tool_calls
        assert (call.function.name, call.function.arguments) == ("get_weather", '{"city": "Paris"}')
        assert response.usage.prompt_tokens == alone.usage.prompt_tokens
    nobody = {"type": "function", "function": {"name": "nobody"}}
    wrongs: list[Any] = [nobody, {"type": "other"}, "often"]
    for wrong in wrongs:
        with pytest.raises(openai.BadRequestError, match="tool_choice"):
            client.chat.completions.create(tools=[weather], tool_choice=wrong, **asked)


@pytest.mark.covers("POST /v1/chat/completions", "tool_choice")
def test_no_tool_may_be_called(client: openai.OpenAI) -> None:
    """The model answers in words, and no markup of a call is among them."""
    case = _CASES["tool call: Paris"]["request"]
    asked: Any = {"model": "demo-a", "messages": case["messages"]}
    without = client.chat.completions.create(**asked)
    response = client.chat.completions.create(tools=case["tools"], tool_choice="none", **asked)
    assert response.choices[0].message.content == without.choices[0].message.content
    assert response.choices[0].message.tool_calls is None


@pytest.mark.covers("POST /v1/chat/completions", "tool_calls")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("arguments", ["", '{"city": "Par'])
def test_arguments_that_cannot_be_read(client: openai.OpenAI, arguments: str, stream: bool) -> None:
    """A call without arguments, or cut in the middle, does not end the conversation."""
    case = _CASES["tool answer: Paris"]["request"]
    messages = json.loads(json.dumps(case["messages"]))
    [call] = next(message["tool_calls"] for message in messages if "tool_calls" in message)
    call["function"]["arguments"] = arguments
    asked: Any = {"model": "demo-a", "messages": messages, "tools": case["tools"]}
    if stream:
        with client.chat.completions.stream(**asked) as events:
            response: Any = events.get_final_completion()
    else:
        response = client.chat.completions.create(**asked)
    assert response.choices[0].message.content == "It is sunny in Paris."


@pytest.mark.covers("POST /v1/chat/completions", "reasoning_content")
def test_reasoning(daemon: DaemonProcess, client: openai.OpenAI) -> None:
    """What a model thinks comes apart from what it says, streamed and not."""
    made = {"model": "thinker", "from": "demo-a", "template": _THINKING, "stream": False}
    assert daemon.http.post("/api/create", json=made).status_code == 200
    asked: Any = {"model": "thinker", "messages": NAME, "max_tokens": 20}
    message = client.chat.completions.create(**asked).choices[0].message
    thought = (message.model_extra or {})["reasoning_content"]
    assert thought
    assert not message.content
    pieces = ""
    for chunk in client.chat.completions.create(stream=True, **asked):
        for choice in chunk.choices:
            pieces += (choice.delta.model_extra or {}).get("reasoning_content") or ""
    assert pieces.strip() == thought.strip()


@pytest.mark.covers(
    "POST /v1/chat/completions",
    "image_url:data",
    "input_audio",
    how="refused",
    note="400 where the model has no projector; with one they pass",
)
@pytest.mark.covers(
    "POST /v1/chat/completions",
    "image_url:address",
    how="refused",
    note="the daemon fetches nothing",
)
@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}, "not support"),
        ({"type": "image_url", "image_url": {"url": "http://127.0.0.1/x"}}, "inline"),
        ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}, "not support"),
    ],
)
def test_pictures_and_sounds(client: openai.OpenAI, part: Any, message: str) -> None:
    """What a model cannot see or hear is the request's fault, not the server's."""
    messages: Any = [{"role": "user", "content": [part]}]
    with pytest.raises(openai.BadRequestError, match=message):
        client.chat.completions.create(model="demo-a", messages=messages)


@pytest.mark.covers("POST /v1/completions", "model", "prompt", "max_tokens")
@pytest.mark.covers("POST /v1/completions", "prompt:list", "prompt:tokens", "n")
@pytest.mark.covers("POST /v1/completions", "stream")
@pytest.mark.covers("POST /v1/completions", "best_of", how="ignored", note="as llama-server does")
def test_completion(client: openai.OpenAI) -> None:
    """The older route: one prompt, several, tokens, several responses, streamed and not."""
    drawn: Any = {"model": "tiny", "max_tokens": 4, "temperature": 0, "seed": 1, "top_p": 0.9}
    response = client.completions.create(prompt="Once", stop=["~"], **drawn)
    assert response.choices[0].finish_reason == "length"
    for prompt, extra, count in (
        (["Once", "Twice"], {}, 2),
        ([40, 41, 42], {}, 1),
        ("Once", {"n": 2}, 2),
        ("Once", {"echo": False, "best_of": 1, "suffix": ""}, 1),
    ):
        asked: Any = {"prompt": prompt, **extra, **drawn}
        whole = client.completions.create(**asked)
        texts = {index: "" for index in range(count)}
        options: Any = {"stream_options": {"include_usage": True}}
        for chunk in client.completions.create(stream=True, **options, **asked):
            for choice in chunk.choices:
                texts[choice.index] += choice.text
        assert {choice.index: choice.text for choice in whole.choices} == texts


@pytest.mark.covers(
    "POST /v1/completions", "logprobs", note="OpenAI's four lists; `true`: in chat's shape"
)
@pytest.mark.parametrize("prompt", ["My name", ["My name", "Who are you?"]])
@pytest.mark.parametrize("top", [0, 1, 5])
def test_completion_probabilities(client: openai.OpenAI, prompt: Any, top: int) -> None:
    """In the older API's shape, whole and streamed."""
    asked: Any = {"model": "demo-a", "prompt": prompt, "max_tokens": 4, "logprobs": top}
    prompts = [prompt] if isinstance(prompt, str) else prompt
    streamed: dict[int, list[Any]] = {index: [] for index in range(len(prompts))}
    for chunk in client.completions.create(stream=True, **asked):
        for part in chunk.choices:
            streamed[part.index] += [part.logprobs] if part.logprobs else []
    for choice in client.completions.create(**asked).choices:
        found = choice.logprobs
        assert found is not None
        tokens, offsets = found.tokens or [], found.text_offset or []
        assert "".join(tokens) == choice.text
        assert offsets[0] == len(prompts[choice.index])
        assert offsets[-1] + len(tokens[-1]) == offsets[0] + len(choice.text)
        for token, logprob, others in zip(
            tokens, found.token_logprobs or [], found.top_logprobs or [], strict=True
        ):
            assert others[token] == logprob <= 0
            assert max(1, top) <= len(others) <= top + 1
        for name in ("tokens", "text_offset"):
            parts = [each for part in streamed[choice.index] for each in getattr(part, name)]
            assert parts == getattr(found, name)


def test_completion_probabilities_as_the_engine_tells_them(client: openai.OpenAI) -> None:
    """For who asks in its ways."""
    own: Any = ({"logprobs": True}, {"n_probs": 1})
    for body in own:
        response = client.completions.create(
            model="tiny", prompt="Once", max_tokens=2, extra_body=body
        )
        told = response.choices[0].to_dict()["logprobs"]
        assert isinstance(told, dict)
        assert len(told["content"]) == 2


@pytest.mark.covers("POST /v1/embeddings", "model", "input", "input:list", "input:tokens", "user")
@pytest.mark.covers("POST /v1/embeddings", "encoding_format:base64")
def test_embeddings(client: openai.OpenAI) -> None:
    """Texts and tokens; the client asks for base64 by itself and decodes it."""
    response = client.embeddings.create(model="demo-embed", input=["a cat", "a dog"], user="me")
    one = client.embeddings.create(model="demo-embed", input="a cat", encoding_format="float")
    assert response.data[0].embedding == pytest.approx(one.data[0].embedding, abs=1e-6)
    assert len(client.embeddings.create(model="demo-embed", input=[5, 6]).data) == 1


@pytest.mark.covers("POST /v1/embeddings", "dimensions", note="the first ones, at length one")
def test_fewer_dimensions(client: openai.OpenAI) -> None:
    """The beginning of the vector, as floats and as base64; impossible numbers are refused."""
    whole = client.embeddings.create(model="demo-embed", input="a cat").data[0].embedding
    start = whole[:5]
    expected = [value / math.hypot(*start) for value in start]
    short = client.embeddings.create(model="demo-embed", input="a cat", dimensions=5)
    assert short.data[0].embedding == pytest.approx(expected, abs=1e-6)
    raw: Any = client.embeddings.create(
        model="demo-embed", input="a cat", dimensions=5, encoding_format="base64"
    )
    values = struct.unpack("<5f", base64.b64decode(raw.data[0].embedding))
    assert list(values) == pytest.approx(expected, abs=1e-6)
    for wrong in (0, -3, len(whole) + 1):
        with pytest.raises(openai.BadRequestError, match="dimensions"):
            client.embeddings.create(model="demo-embed", input="a cat", dimensions=wrong)


@pytest.mark.covers("GET /v1/models", "list")
@pytest.mark.covers("GET /v1/models/{id}", "id")
def test_models(client: openai.OpenAI) -> None:
    """Listing and retrieving models."""
    listed = {model.id for model in client.models.list()}
    assert {"ai/tiny:latest", "ai/demo-a:latest"} <= listed
    assert client.models.retrieve("tiny").id == "ai/tiny:latest"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nowhere")


@pytest.mark.covers("POST /v1/rerank", "model", "query", "documents", "top_n")
@pytest.mark.covers("POST /v1/tokenize", "model", "content")
@pytest.mark.covers("POST /v1/detokenize", "model", "tokens")
def test_beside_openais_own(client: openai.OpenAI) -> None:
    """Ranking and tokens, through the client's general call."""
    ranked: Any = client.post(
        "/rerank",
        body={
            "model": "demo-rerank",
            "query": "a cat",
            "documents": ["a cat", "a car"],
            "top_n": 1,
        },
        cast_to=object,
    )
    assert len(ranked["results"]) == 1
    counted: Any = client.post(
        "/tokenize", body={"model": "demo-a", "content": "My name"}, cast_to=object
    )
    back: Any = client.post(
        "/detokenize", body={"model": "demo-a", "tokens": counted["tokens"]}, cast_to=object
    )
    assert back["content"] == "My name"


def test_transcriptions_need_an_audio_model(client: openai.OpenAI) -> None:
    """The error names what to install."""
    with pytest.raises(openai.InternalServerError, match="audio projector") as caught:
        client.audio.transcriptions.create(model="demo-a", file=("a.wav", b"RIFF....WAVE"))
    assert caught.value.status_code == 501


@pytest.mark.covers("OpenAI errors", "400", "404")
def test_errors_become_the_right_classes(client: openai.OpenAI) -> None:
    """404 and 400 arrive as what the client's users catch."""
    with pytest.raises(openai.NotFoundError, match="nowhere") as missing:
        client.chat.completions.create(model="nowhere", messages=[])
    assert missing.value.code == "model_not_found"
    assert missing.value.param == "model"
    with pytest.raises(openai.BadRequestError, match="does not support"):
        client.chat.completions.create(model="demo-embed", messages=NAME)
    long: Any = [{"role": "user", "content": "word " * 20_000}]
    words = r"maximum context length is 2048 tokens.* exceeds the available context size"
    with pytest.raises(openai.BadRequestError, match=words) as longer:
        client.chat.completions.create(model="demo-a", messages=long)
    assert longer.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError) as longer:
        client.responses.create(model="demo-a", input=long, stream=True)
    assert longer.value.code == "context_length_exceeded"


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        ("chat/completions", {"messages": [{"content": "x"}]}),
        ("chat/completions", {"messages": [*NAME, {"role": "assistant", "tool_calls": "x"}]}),
        ("chat/completions", {"messages": NAME, "tools": "x"}),
        ("chat/completions", {"messages": NAME, "tools": [{"type": "custom"}]}),
        ("chat/completions", {"messages": NAME, "tools": [{"type": "function"}]}),
        ("embeddings", {"model": "demo-embed", "input": 3}),
    ],
)
def test_mistakes_are_the_clients(client: openai.OpenAI, path: str, wrong: Any) -> None:
    """Whatever the engine says: clients try again after a 500."""
    with pytest.raises(openai.BadRequestError) as caught:
        client.post(f"/{path}", body={"model": "demo-a", **wrong}, cast_to=object)
    assert caught.value.code != "server_error"


def test_leaving_stops_the_engine(client: openai.OpenAI, daemon: DaemonProcess) -> None:
    """A client that closes its stream leaves nothing running."""
    asked: Any = {"model": "tiny", "prompt": "Once", "max_tokens": 1900}
    stream = client.completions.create(stream=True, **asked)
    next(iter(stream))
    stream.close()
    wait_for(lambda: not any(runner["in_use"] for runner in daemon.ps()), "the engine to be idle")
