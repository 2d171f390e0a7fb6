"""The real `ollama` Python client, unmodified, against the daemon with models that answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import ollama
import pytest

from tests.support.clients import ollama_client
from tests.support.daemon import DaemonProcess, running
from tests.support.fileserver import serving
from tests.support.plain_http import NO_TLS
from tests.support.waiting import wait_for

pytestmark = pytest.mark.engine

_ROOT = Path(__file__).parents[2]
_ANSWERS = json.loads((_ROOT / "tests" / "demo_answers.json").read_text())
_CASES = {case["id"]: case for case in _ANSWERS["chat"]}
NAME = [{"role": "user", "content": "What is your name?"}]
GREEDY = {"temperature": 0}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with demo models."""
    env = {"RUNNERD_ALLOWED_SOURCES": '["127.0.0.1"]'}
    with running(tmp_path_factory.mktemp("ollama"), env=env) as daemon:
        for name in ("demo-a", "demo-b", "demo-embed"):
            daemon.import_model(_ROOT / "demo" / f"{name}.gguf", name)
        yield daemon


@pytest.fixture
def client(daemon: DaemonProcess) -> Iterator[ollama.Client]:
    """Ollama's client."""
    with ollama_client(daemon) as client:
        yield client


@pytest.mark.covers("POST /api/chat", "messages", "options")
def test_chat(client: ollama.Client) -> None:
    """A whole response, with the counts and durations of the engine."""
    answer = client.chat("demo-a", messages=NAME, options=GREEDY)
    assert answer.message.role == "assistant"
    assert answer.message.content == "My name is Demo A."
    assert (answer.model, answer.done, answer.done_reason) == ("demo-a", True, "stop")
    assert answer.prompt_eval_count == 13
    assert answer.eval_count == 7
    assert answer.total_duration is not None
    assert answer.eval_duration is not None
    assert answer.total_duration >= answer.eval_duration > 0


@pytest.mark.covers("POST /api/chat", "stream")
def test_streamed_and_whole_answers_are_the_same(client: ollama.Client) -> None:
    """Same text, same counts, in many pieces."""
    question = [{"role": "user", "content": "Count from 1 to 30."}]
    whole = client.chat("demo-b", messages=question, options=GREEDY)
    parts = list(client.chat("demo-b", messages=question, options=GREEDY, stream=True))
    assert "".join(part.message.content or "" for part in parts) == whole.message.content
    assert len(parts) > 20
    assert [part.done for part in parts].count(True) == 1
    assert (parts[-1].eval_count, parts[-1].done_reason) == (whole.eval_count, "stop")


def test_letters_of_all_kinds_arrive_whole(client: ollama.Client) -> None:
    """An emoji of several tokens is in one line; lines are ASCII, whatever they carry."""
    question = [{"role": "user", "content": "Show me an emoji."}]
    parts = client.chat("demo-a", messages=question, options=GREEDY, stream=True)
    assert "".join(part.message.content or "" for part in parts) == "Here you are: 🚀🦙"


@pytest.mark.covers("POST /api/generate", "model", "prompt", "stream")
def test_generate(client: ollama.Client) -> None:
    """A prompt through the template, with a system message, streamed and not."""
    answer = client.generate("demo-a", "What is your name?", system="You are Ada.", options=GREEDY)
    assert answer.response == "My name is Ada."
    parts = client.generate("demo-a", "What is your name?", options=GREEDY, stream=True)
    assert "".join(part.response or "" for part in parts) == "My name is Demo A."


@pytest.mark.covers("POST /api/generate", "raw")
def test_raw_generate_uses_no_template(client: ollama.Client) -> None:
    """The prompt goes to the engine as it is, and the limit ends the response."""
    prompt = "<|im_start|>user\nWhat is your name?<|im_end|>\n<|im_start|>assistant\n"
    answer = client.generate("demo-a", prompt, raw=True, options=GREEDY | {"num_predict": 3})
    assert "My name is Demo A.".startswith((answer.response or "").strip())
    assert (answer.eval_count, answer.done_reason) == (3, "length")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.covers("POST /api/chat", "tools", "tool_calls")
def test_tools(client: ollama.Client, stream: bool) -> None:
    """A tool call comes with its arguments as an object, and its result makes the response."""
    case = _CASES["tool call: Paris"]["request"]
    messages: list[Any] = list(case["messages"])
    asked: dict[str, Any] = {"messages": messages, "tools": case["tools"], "options": GREEDY}
    parts = (
        list(client.chat("demo-a", stream=True, **asked))
        if stream
        else [client.chat("demo-a", **asked)]
    )
    [call] = [call for part in parts for call in part.message.tool_calls or []]
    assert call.function.name == "get_weather"
    assert call.function.arguments == {"city": "Paris"}
    result = _CASES["tool answer: Paris"]["request"]["messages"][-1]["content"]
    messages += [
        {"role": "assistant", "content": "", "tool_calls": [call.model_dump()]},
        {"role": "tool", "tool_name": "get_weather", "content": result},
    ]
    answer = client.chat("demo-a", messages=messages, tools=case["tools"], options=GREEDY)
    assert answer.message.content == "It is sunny in Paris."


def test_formats(client: ollama.Client) -> None:
    """JSON, and JSON after a schema."""
    question = [{"role": "user", "content": "Answer in JSON: What is your name?"}]
    free = client.chat("demo-a", messages=question, format="json", options=GREEDY)
    assert json.loads(free.message.content or "") == {"name": "Demo A"}
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    short = client.generate("demo-a", question[0]["content"], format="json", options=GREEDY)
    assert json.loads(short.response or "") == {"name": "Demo A"}
    bound = client.chat("demo-a", messages=question, format=schema, options=GREEDY)
    assert json.loads(bound.message.content or "") == {"name": "Demo A"}


@pytest.mark.covers("POST /api/embed", "model")
@pytest.mark.covers("POST /api/embeddings", "model", "prompt")
def test_embeddings(client: ollama.Client) -> None:
    """Vectors of length one, in order, cut to the dimensions asked for."""
    answer = client.embed("demo-embed", ["a cat", "a dog"])
    assert len(answer.embeddings) == 2
    for vector in answer.embeddings:
        assert sum(value * value for value in vector) == pytest.approx(1)
    short = client.embed("demo-embed", "a cat", dimensions=8)
    assert len(short.embeddings[0]) == 8
    assert client.embed("demo-embed", []).embeddings == []
    old = client.embeddings("demo-embed", "a cat")
    assert list(old.embedding) == pytest.approx(list(answer.embeddings[0]))


def test_a_tool_without_its_type(client: ollama.Client) -> None:
    """Is a function: there are no others."""
    case = _CASES["tool call: Paris"]["request"]
    tools = [{"function": tool["function"]} for tool in case["tools"]]
    body = {"model": "demo-a", "messages": case["messages"], "tools": tools, "stream": False}
    answer = client._client.post("/api/chat", json=body).json()
    assert answer["message"]["tool_calls"][0]["function"]["arguments"] == {"city": "Paris"}


def test_a_chat_model_embeds(client: ollama.Client) -> None:
    """With one vector for each text, as Ollama does; the response has every member of Ollama's."""
    answer = client.embed("demo-a", ["a cat", "a dog"], keep_alive=0)
    one, two = answer.embeddings
    assert one != two
    assert sum(value * value for value in one) == pytest.approx(1)
    assert answer.total_duration is not None
    assert (answer.load_duration, answer.prompt_eval_count) == (0, 6)


@pytest.mark.covers("POST /api/generate", "keep_alive")
@pytest.mark.covers("POST /api/chat", "keep_alive")
def test_keep_alive_loads_and_unloads(client: ollama.Client, daemon: DaemonProcess) -> None:
    """An empty request loads for as long as it says; zero unloads at once."""
    assert client.generate("demo-a", keep_alive="7m").done_reason == "load"
    loaded = [each for each in daemon.ps() if each["model_name"] == "demo-a"]
    [runner] = [each for each in loaded if each["mode"] == "completion"]  # others may be ending
    assert runner["keep_alive"] == "7m0s"
    assert "demo-a:latest" in [model.model for model in client.ps().models]
    assert client.generate("demo-a", keep_alive=0).done_reason == "unload"
    assert "demo-a:latest" not in [model.model for model in client.ps().models]
    client.chat("demo-a", messages=NAME, keep_alive=0)
    wait_for(
        lambda: "demo-a:latest" not in [model.model for model in client.ps().models], "the end"
    )


def test_library(client: ollama.Client) -> None:
    """list, show, copy and delete."""
    listed = {model.model: model for model in client.list().models}
    assert {"demo-a:latest", "demo-b:latest", "demo-embed:latest"} <= set(listed)
    assert len(listed["demo-a:latest"].digest or "") == 64
    shown = client.show("demo-a")
    assert shown.details is not None
    assert shown.details.family == "llama"
    assert "completion" in (shown.capabilities or [])
    assert shown.modelinfo is not None
    assert shown.modelinfo["llama.context_length"] == 2048
    assert client.copy("demo-a", "copied").status == "success"
    assert "copied:latest" in [model.model for model in client.list().models]
    assert client.delete("copied").status == "success"
    assert "copied:latest" not in [model.model for model in client.list().models]


@pytest.mark.covers("POST /api/pull", "stream")
@pytest.mark.covers(
    "POST /api/pull", "insecure", how="ignored", note="the owner lists insecure registries"
)
def test_pull(client: ollama.Client) -> None:
    """Ollama's statuses in their order, with digests and bytes; a wrong source is an error."""
    content = (_ROOT / "demo" / "demo-rerank.gguf").read_bytes()
    with serving(content) as server:
        parts = list(client.pull(server.url("/pulled.gguf"), stream=True, insecure=True))
        assert client.pull(server.url("/pulled.gguf")).status == "success"
    assert parts[0].status == "pulling manifest"
    assert [part.status for part in parts][-3:] == [
        "verifying sha256 digest",
        "writing manifest",
        "success",
    ]
    bars = [part for part in parts if part.digest]
    assert bars[-1].completed == bars[-1].total == len(content)
    assert "pulled:latest" in [model.model for model in client.list().models]
    with pytest.raises(ollama.ResponseError, match="internal address"):
        list(client.pull("http://169.254.169.254/x.gguf", stream=True))


@pytest.mark.covers("Ollama errors", "400", "404")
def test_errors(client: ollama.Client, daemon: DaemonProcess) -> None:
    """Unknown models are 404, wrong requests 400, in the shape that the client reads."""
    for call in (
        lambda: client.chat("nobody", messages=NAME),
        lambda: client.show("nobody"),
        lambda: client.delete("nobody"),
    ):
        with pytest.raises(ollama.ResponseError, match="not found") as caught:
            call()
        assert caught.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match="not found"):
        list(client.chat("nobody", messages=NAME, stream=True))
    for body in ({}, {"model": "demo-a", "messages": "x"}, {"model": "demo-a", "options": 3}):
        answer = httpx.post(f"{daemon.address}/api/chat", json=body, verify=NO_TLS)
        assert answer.status_code == 400
        assert isinstance(answer.json()["error"], str)
    with pytest.raises(ollama.ResponseError, match="does not support"):
        client.chat("demo-embed", messages=NAME)


def test_leaving_stops_the_engine(client: ollama.Client, daemon: DaemonProcess) -> None:
    """A client that closes its stream leaves nothing running, and is recorded with its origin."""
    long = {"num_predict": 1900}
    stream = client.generate("demo-a", "Count", raw=True, options=long, stream=True)
    next(iter(stream))
    stream.close()  # type: ignore[attr-defined]
    wait_for(lambda: not any(runner["in_use"] for runner in daemon.ps()), "the engine to be idle")
    newest = daemon.http.get("/engines/requests").json()[0]
    assert newest["origin"] == "ollama/completion"
