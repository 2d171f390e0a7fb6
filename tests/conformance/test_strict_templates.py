"""Models whose templates refuse an order of turns, with what agents send, in every API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.support.clients import anthropic_client, ollama_client, openai_client
from tests.support.daemon import DaemonProcess, running

pytestmark = pytest.mark.engine

_DEMO = Path(__file__).parents[2] / "demo"
_TURN = "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
_END = "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
_FIRST = (
    "{% for message in messages %}{% if message['role'] == 'system' and not loop.first %}"
    "{{ raise_exception('System message must be at the beginning.') }}{% endif %}" + _TURN + _END
)
_IN_TURN = (
    "{% for message in messages %}{% if not loop.first and loop.previtem['role'] == 'user'"
    " and message['role'] == 'user' %}{{ raise_exception('Roles must alternate') }}{% endif %}"
    + _TURN
    + _END
)
NAME = {"role": "user", "content": "What is your name?"}
ADA = {"role": "system", "content": "You are Ada."}
MORE = {"role": "system", "content": [{"type": "text", "text": "Hello!"}]}
SAID = {"role": "assistant", "content": "My name is Ada."}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with two strict models."""
    with running(tmp_path_factory.mktemp("strict")) as daemon:
        daemon.import_model(_DEMO / "demo-a.gguf", "demo-a")
        for name, template in (("first", _FIRST), ("in-turn", _IN_TURN)):
            made = {"model": name, "from": "demo-a", "template": template, "stream": False}
            assert daemon.http.post("/api/create", json=made).status_code == 200
        yield daemon


@pytest.mark.covers("POST /v1/chat/completions", "messages", note="in any order of roles")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "messages", [[NAME, ADA], [ADA, NAME, SAID, MORE, NAME], [ADA | {"role": "developer"}] * 2]
)
def test_openai_chats(daemon: DaemonProcess, messages: list[Any], stream: bool) -> None:
    """What the system says is told first, and nothing of it is lost."""
    with openai_client(daemon) as client:
        asked: Any = {"model": "first", "messages": [*messages, NAME]}
        if stream:
            with client.chat.completions.stream(**asked) as events:
                response = events.get_final_completion().choices[0].message.content
        else:
            response = client.chat.completions.create(**asked).choices[0].message.content
    assert response == "My name is Ada."


@pytest.mark.parametrize("stream", [False, True])
def test_openai_responses(daemon: DaemonProcess, stream: bool) -> None:
    """As Codex asks: two messages of a developer, beside instructions."""
    told: Any = [{"type": "input_text", "text": "You are Ada."}]
    developer: Any = {"type": "message", "role": "developer", "content": told}
    with openai_client(daemon) as client:
        items: Any = [developer, developer, NAME]
        asked: Any = {"model": "first", "input": items, "instructions": "You are Ada."}
        if stream:
            with client.responses.stream(**asked) as events:
                response = events.get_final_response()
        else:
            response = client.responses.create(**asked)
    assert response.output_text == "My name is Ada."
    assert response.instructions == "You are Ada."


@pytest.mark.parametrize("stream", [False, True])
def test_anthropic_messages(daemon: DaemonProcess, stream: bool) -> None:
    """As Claude Code asks: the system speaks in front, and once more behind a message."""
    asked: Any = {"model": "first", "max_tokens": 50, "messages": [NAME, MORE, NAME]}
    asked["system"] = [{"type": "text", "text": "You are Ada."}]
    with anthropic_client(daemon) as client:
        if stream:
            with client.messages.stream(**asked) as events:
                response = events.get_final_message()
        else:
            response = client.messages.create(**asked)
        count = client.messages.count_tokens(
            model="first", messages=asked["messages"], system=asked["system"]
        )
    assert response.to_dict()["content"] == [{"type": "text", "text": "My name is Ada."}]
    usage = response.usage
    assert usage.input_tokens + (usage.cache_read_input_tokens or 0) == count.input_tokens


def test_ollama_chats(daemon: DaemonProcess) -> None:
    """Ollama's own templates take any order."""
    with ollama_client(daemon) as client:
        response = client.chat(
            "first", messages=[NAME, SAID, ADA, NAME], options={"temperature": 0}
        )
    assert response.message.content == "My name is Ada."


def test_turns_in_a_row(daemon: DaemonProcess) -> None:
    """Two messages of a user are told as one."""
    with openai_client(daemon) as client:
        hello: Any = {"role": "user", "content": "Hello!"}
        asked: Any = [hello, NAME]
        response = client.chat.completions.create(model="in-turn", messages=asked)
        one: Any = [{"role": "user", "content": [hello, NAME]}]
        for part in one[0]["content"]:
            part |= {"type": "text", "text": part["content"]}
        same = client.chat.completions.create(model="in-turn", messages=one)
        assert response.usage is not None
        assert same.usage is not None
        assert response.usage.prompt_tokens == same.usage.prompt_tokens


def test_what_no_order_mends(daemon: DaemonProcess) -> None:
    """Is refused, in the template's words."""
    template = "{% for message in messages %}{{ raise_exception('Not today') }}{% endfor %}"
    made = {"model": "never", "from": "demo-a", "template": template, "stream": False}
    assert daemon.http.post("/api/create", json=made).status_code == 200
    with openai_client(daemon) as client:
        messages: Any = [NAME, ADA, NAME]
        with pytest.raises(openai.APIStatusError, match="Not today"):
            client.chat.completions.create(model="never", messages=messages)
