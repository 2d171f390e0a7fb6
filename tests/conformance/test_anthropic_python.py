"""The real `anthropic` Python client, unmodified, against the daemon with models that answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import pytest

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
    address = daemon.address + request.param
    with anthropic.Anthropic(base_url=address, api_key="unused", max_retries=0) as client:
        yield client


def test_message(client: anthropic.Anthropic) -> None:
    """A whole message, with the engine's counts."""
    message = client.messages.create(messages=NAME, **ASKED)
    [block] = message.content
    assert block.type == "text"
    assert block.text == "My name is Demo A."
    assert (message.role, message.stop_reason) == ("assistant", "end_turn")
    usage = message.usage
    assert usage.input_tokens + (usage.cache_read_input_tokens or 0) == 13
    assert usage.output_tokens == 7


def test_system_and_limits(client: anthropic.Anthropic) -> None:
    """The system message and the limit of tokens act."""
    named = client.messages.create(messages=NAME, system="You are Ada.", **ASKED)
    assert named.content[0].type == "text"
    assert named.content[0].text == "My name is Ada."
    cut = client.messages.create(messages=NAME, **(ASKED | {"max_tokens": 3}))
    assert cut.stop_reason == "max_tokens"


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


@pytest.mark.parametrize("stream", [False, True])
def test_tools(client: anthropic.Anthropic, stream: bool) -> None:
    """A tool call with its input as an object, and the answer that its result makes."""
    messages: list[Any] = [{"role": "user", "content": "What is the weather in Paris?"}]
    if stream:
        with client.messages.stream(messages=messages, tools=[WEATHER], **ASKED) as events:
            answer = events.get_final_message()
    else:
        answer = client.messages.create(messages=messages, tools=[WEATHER], **ASKED)
    assert answer.stop_reason == "tool_use"
    [call] = [block for block in answer.content if block.type == "tool_use"]
    assert (call.name, call.input) == ("get_weather", {"city": "Paris"})


def test_tokens_are_counted(client: anthropic.Anthropic) -> None:
    """Without generating anything."""
    count = client.messages.count_tokens(model="demo-a", messages=NAME)
    assert count.input_tokens == 13


def test_errors_have_their_classes(client: anthropic.Anthropic) -> None:
    """The SDK's exceptions follow from status and shape."""
    with pytest.raises(anthropic.NotFoundError, match="not found") as caught:
        client.messages.create(messages=NAME, **(ASKED | {"model": "nobody"}))
    body: Any = caught.value.body
    assert body["error"]["type"] == "not_found_error"
    with pytest.raises(anthropic.BadRequestError):
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
