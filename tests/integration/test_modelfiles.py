"""What a model's maker set in its Modelfile, seen in real answers of every API."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import DaemonProcess, running

pytestmark = pytest.mark.engine

_DEMO = Path(__file__).parents[2] / "demo" / "demo-a.gguf"
NAME = "What is your name?"
ASKED = [{"role": "user", "content": NAME}]
_CONTENT = re.compile('"delta":{"content":"([^"]*)"}')
OWN = {"role": "system", "content": "You are Bob."}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with a model, and others that were made of it."""
    with running(tmp_path_factory.mktemp("modelfiles")) as daemon:
        daemon.import_model(_DEMO, "demo-a")
        create(daemon, "ada", system="You are Ada.")
        create(daemon, "brief", parameters={"num_predict": 3, "num_ctx": 512})
        create(daemon, "stopped", parameters={"stop": [" is"]})
        create(
            daemon,
            "opened",
            messages=[
                {"role": "system", "content": "You are Ada."},
                {"role": "user", "content": NAME},
                {"role": "assistant", "content": "My name is Ada."},
            ],
        )
        yield daemon


def create(daemon: DaemonProcess, name: str, **made: Any) -> None:
    answer = daemon.http.post("/api/create", json={"model": name, "from": "demo-a", **made})
    assert '"status":"success"' in answer.text, answer.text


def post(daemon: DaemonProcess, path: str, **body: Any) -> dict[str, Any]:
    answer = daemon.http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    document = answer.json()
    assert isinstance(document, dict)
    return document


def chat(daemon: DaemonProcess, model: str, *before: Any, **body: Any) -> str:
    messages = [*before, *ASKED]
    document = post(daemon, "/v1/chat/completions", model=model, messages=messages, **body)
    return str(document["choices"][0]["message"]["content"])


def message(daemon: DaemonProcess, model: str, **body: Any) -> str:
    body = {"max_tokens": 50, "messages": ASKED} | body
    return str(post(daemon, "/v1/messages", model=model, **body)["content"][0]["text"])


def response(daemon: DaemonProcess, model: str, **body: Any) -> dict[str, Any]:
    return post(daemon, "/v1/responses", model=model, **({"input": NAME} | body))


def said(document: dict[str, Any]) -> str:
    return str(document["output"][0]["content"][0]["text"])


@pytest.mark.covers(
    "POST /v1/chat/completions", "Modelfile:SYSTEM", note="where the request has none"
)
@pytest.mark.covers("POST /v1/messages", "Modelfile:SYSTEM", note="where the request has none")
@pytest.mark.covers("POST /v1/responses", "Modelfile:SYSTEM", note="where the request has none")
def test_a_system_prompt_stands_where_a_request_has_none(daemon: DaemonProcess) -> None:
    """In each API, by its own way to say one; others' models have none."""
    assert chat(daemon, "demo-a") == "My name is Demo A."
    assert chat(daemon, "ada") == message(daemon, "ada") == said(response(daemon, "ada"))
    assert chat(daemon, "ada") == "My name is Ada."
    bob = chat(daemon, "demo-a", OWN)
    assert bob not in ("My name is Ada.", "My name is Demo A.")
    assert chat(daemon, "ada", OWN) == chat(daemon, "ada", OWN | {"role": "developer"}) == bob
    assert message(daemon, "ada", system=OWN["content"]) == bob
    assert said(response(daemon, "ada", instructions=OWN["content"])) == bob
    assert said(response(daemon, "ada", input=[OWN, *ASKED])) == bob


@pytest.mark.covers("POST /v1/messages/count_tokens", "Modelfile:SYSTEM", "Modelfile:MESSAGE")
def test_it_is_there_in_streams_counts_templates_and_on_one_runner(daemon: DaemonProcess) -> None:
    """Wherever a conversation is."""
    stream = {"model": "ada", "messages": ASKED, "stream": True}
    streamed = daemon.http.post("/v1/chat/completions", json=stream).text
    assert "".join(_CONTENT.findall(streamed)) == "My name is Ada."
    counted = {}
    for model in ("demo-a", "ada", "opened"):
        body: Any = {"model": model, "messages": ASKED}
        counted[model] = post(daemon, "/v1/messages/count_tokens", **body)["input_tokens"]
        usage = post(daemon, "/v1/messages", max_tokens=1, **body)["usage"]
        assert usage["input_tokens"] + usage["cache_read_input_tokens"] == counted[model]
    assert counted["demo-a"] < counted["ada"] < counted["opened"]
    shown = post(daemon, "/v1/apply-template", model="ada", messages=ASKED)["prompt"]
    assert shown.index("You are Ada.") < shown.index(NAME)
    shared = [each for each in daemon.ps() if "ada" in str((each["model_name"], each["also"]))]
    [runner] = shared
    path = f"/runners/{runner['id']}/v1/chat/completions"
    bound = post(daemon, path, model="ada", messages=ASKED)
    assert bound["choices"][0]["message"]["content"] == "My name is Ada."


@pytest.mark.covers("POST /v1/chat/completions", "Modelfile:MESSAGE")
@pytest.mark.covers("POST /v1/responses", "Modelfile:MESSAGE")
@pytest.mark.covers("POST /v1/messages", "Modelfile:MESSAGE")
def test_first_messages_open_every_conversation(daemon: DaemonProcess) -> None:
    """Also one that goes on from a response, where they come once."""
    assert chat(daemon, "opened") == message(daemon, "opened") == "My name is Ada."
    first = response(daemon, "opened")
    assert said(first) == "My name is Ada."
    second = response(daemon, "opened", previous_response_id=first["id"])
    assert said(second) == "My name is Ada."
    grown = second["usage"]["input_tokens"] - first["usage"]["input_tokens"]
    plain = response(daemon, "ada")
    again = response(daemon, "ada", previous_response_id=plain["id"])
    assert grown == again["usage"]["input_tokens"] - plain["usage"]["input_tokens"]


@pytest.mark.covers("POST /v1/chat/completions", "Modelfile:PARAMETER")
@pytest.mark.covers("POST /v1/completions", "Modelfile:PARAMETER")
@pytest.mark.covers("POST /v1/responses", "Modelfile:PARAMETER")
@pytest.mark.covers(
    "POST /v1/messages",
    "Modelfile:PARAMETER",
    note="`temperature`, `top_p`, `top_k`, `num_predict`, `stop`",
)
def test_parameters_are_defaults(daemon: DaemonProcess) -> None:
    """Below the owner's and the request's; the names are each API's own."""
    whole = "My name is Demo A."
    brief = chat(daemon, "brief")
    assert whole.startswith(brief)
    assert brief != whole
    assert said(response(daemon, "brief")) == brief
    assert chat(daemon, "brief", max_tokens=50) == whole
    assert said(response(daemon, "brief", max_output_tokens=50)) == whole
    assert chat(daemon, "stopped") == message(daemon, "stopped") == "My name"
    assert chat(daemon, "stopped", stop=[]) == "My name"  # says nothing, and takes nothing away
    assert message(daemon, "stopped", stop_sequences=[" Demo"]) == "My name is"
    text = post(daemon, "/v1/completions", model="brief", prompt="My name")
    assert text["usage"]["completion_tokens"] <= 3
    configured = {"model": "brief", "completion_defaults": {"max_tokens": 2}}
    assert daemon.http.post("/engines/_configure", json=configured).status_code == 202
    assert len(chat(daemon, "brief")) < len(brief)


def test_the_context_is_the_engines(daemon: DaemonProcess) -> None:
    """`num_ctx` is how the model is loaded, by whichever API it is asked first."""
    sizes = set()
    for path, body in (
        ("/v1/chat/completions", {"messages": ASKED}),
        ("/api/chat", {"messages": ASKED, "stream": False}),
    ):
        post(daemon, path, model="brief", **body)
        [loaded] = [m for m in daemon.http.get("/api/ps").json()["models"] if "brief" in m["name"]]
        sizes.add(loaded["context_length"])
        daemon.http.post("/engines/unload", json={"models": ["brief"]})
    assert sizes == {512}
