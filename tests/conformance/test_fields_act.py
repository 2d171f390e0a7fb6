"""Fields that decide what is said: each is seen to change the response, on each route that has it.

The tiny model's weights are random, and it says nothing by itself that a field asks for: a test
here fails when the field is lost on its way.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess, running

pytestmark = pytest.mark.engine

_TOKENS = 16
_MESSAGES = [{"role": "user", "content": "Once"}]
_SCHEMA = {"type": "object", "properties": {"a": {"const": "zzz"}}, "required": ["a"]}
_BOUND = {"type": "json_schema", "json_schema": {"name": "n", "schema": _SCHEMA}}

Ask = Callable[..., str]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with a tiny model."""
    root = tmp_path_factory.mktemp("fields")
    tiny.write_completion_model(root / "tiny.gguf")
    with running(root) as daemon:
        daemon.import_model(root / "tiny.gguf", "tiny")
        yield daemon


def chat(document: Any) -> str:
    return str(document["choices"][0]["message"]["content"])


def completion(document: Any) -> str:
    return str(document["choices"][0]["text"])


def response(document: Any) -> str:
    return str(document["output"][0]["content"][0]["text"])


def message(document: Any) -> str:
    return str(document["content"][0]["text"])


def ollama_chat(document: Any) -> str:
    return str(document["message"]["content"])


def generated(document: Any) -> str:
    return str(document["response"])


# The body of a request on each route, and what is said in its response.
_ROUTES: dict[str, tuple[dict[str, Any], Callable[[Any], str]]] = {
    "/v1/chat/completions": ({"messages": _MESSAGES, "max_tokens": _TOKENS}, chat),
    "/v1/completions": ({"prompt": "Once", "max_tokens": _TOKENS}, completion),
    "/v1/responses": ({"input": "Once", "max_output_tokens": _TOKENS}, response),
    "/v1/messages": ({"messages": _MESSAGES, "max_tokens": _TOKENS}, message),
    "/api/chat": ({"messages": _MESSAGES, "stream": False}, ollama_chat),
    "/api/generate": ({"prompt": "Once", "stream": False}, generated),
}


@pytest.fixture
def ask(daemon: DaemonProcess, request: pytest.FixtureRequest) -> Ask:
    """Asks on the route that the test is for; Ollama's parameters are options."""
    route: str = request.param
    usual, said = _ROUTES[route]

    def asking(**fields: Any) -> str:
        body: dict[str, Any] = {"model": "tiny", **usual}
        if route.startswith("/api"):
            options = {"num_predict": _TOKENS, "repeat_penalty": 1.0}
            formats = {name: fields.pop(name) for name in ("format",) if name in fields}
            body |= {**formats, "options": options | fields}
        else:
            body |= fields
        answer = daemon.http.post(route, json=body)
        assert answer.status_code == 200, answer.text
        return said(answer.json())

    return asking


def on(*routes: str) -> pytest.MarkDecorator:
    """Run a test on these routes."""
    return pytest.mark.parametrize("ask", routes, indirect=True)


_OPENAI = ("/v1/chat/completions", "/v1/completions", "/v1/responses")
_EVERYWHERE = tuple(_ROUTES)


@pytest.mark.covers("POST /v1/chat/completions", "temperature", "top_p")
@pytest.mark.covers("POST /v1/completions", "temperature", "top_p")
@pytest.mark.covers("POST /v1/responses", "temperature", "top_p")
@pytest.mark.covers("POST /v1/messages", "temperature", "top_p")
@on(*_EVERYWHERE)
def test_what_is_likeliest(ask: Ask) -> None:
    """At no temperature, and where nothing else is left to draw from; otherwise it is drawn."""
    greedy = ask(temperature=0)
    assert ask(temperature=0) == greedy
    assert ask(temperature=1, top_p=0.0001) == greedy
    assert len({ask(temperature=2, top_p=1) for _ in range(3)}) == 3


@pytest.mark.covers("POST /v1/messages", "top_k")
@on("/v1/messages", "/v1/chat/completions", "/api/chat")
def test_top_k(ask: Ask) -> None:
    """Of one token the likeliest is drawn at any temperature."""
    assert ask(temperature=2, top_k=1) == ask(temperature=0)


@pytest.mark.covers("POST /v1/chat/completions", "seed")
@pytest.mark.covers("POST /v1/completions", "seed")
@on("/v1/chat/completions", "/v1/completions", "/api/generate")
def test_seed(ask: Ask) -> None:
    """What was drawn is drawn again from the same one."""
    drawn = ask(temperature=2, seed=7)
    assert ask(temperature=2, seed=7) == drawn
    assert ask(temperature=2, seed=8) != drawn


@pytest.mark.covers("POST /v1/chat/completions", "presence_penalty", "frequency_penalty")
@pytest.mark.parametrize("name", ["presence_penalty", "frequency_penalty"])
@on("/v1/chat/completions", "/v1/completions", "/api/chat")
def test_penalties(ask: Ask, name: str) -> None:
    """What was said becomes less likely, or with a negative one likelier."""
    greedy = ask(temperature=0)
    assert len(set(ask(temperature=0, **{name: -2}))) < len(set(greedy))
    assert ask(temperature=0, **{name: 2}) != ask(temperature=0, **{name: -2})


@pytest.mark.covers("POST /v1/chat/completions", "logit_bias")
@on("/v1/chat/completions", "/v1/completions")
def test_logit_bias(daemon: DaemonProcess, ask: Ask) -> None:
    """A token that is wanted enough is all that is said."""
    body = {"model": "tiny", "content": "z"}
    [token] = daemon.http.post("/v1/tokenize", json=body).json()["tokens"]
    assert ask(temperature=0, logit_bias={str(token): 100}) == "z" * _TOKENS


@pytest.mark.covers("POST /v1/completions", "stop")
@on("/v1/completions", "/v1/chat/completions", "/api/generate")
def test_stop(ask: Ask) -> None:
    """What it says is not in the response."""
    greedy = ask(temperature=0)
    last = greedy[-1]
    assert ask(temperature=0, stop=[last]) == greedy[: greedy.index(last)]


@pytest.mark.covers(
    "POST /v1/chat/completions", "response_format:json_object", "response_format:json_schema"
)
@on("/v1/chat/completions")
def test_openai_formats(ask: Ask) -> None:
    """Nothing but JSON comes, and with a schema what it asks for."""
    assert ask(response_format={"type": "json_object"}).lstrip().startswith("{")
    assert json.loads(ask(response_format=_BOUND, max_tokens=60)) == {"a": "zzz"}


@pytest.mark.covers("POST /api/chat", "format")
@pytest.mark.covers("POST /api/generate", "format")
@on("/api/chat", "/api/generate")
def test_ollama_formats(ask: Ask) -> None:
    """Nothing but JSON comes, and with a schema what it asks for."""
    assert ask(format="json").lstrip().startswith("{")
    assert json.loads(ask(format=_SCHEMA, num_predict=60)) == {"a": "zzz"}


@pytest.mark.covers("options", "typical_p")
@on("/api/generate")
def test_typical_p(ask: Ask) -> None:
    """Fewer tokens are left to draw from."""
    drawn = [{ask(temperature=1.5, typical_p=p, seed=seed) for seed in range(4)} for p in (1, 0.01)]
    assert drawn[0] != drawn[1]


@pytest.mark.covers(
    "POST /v1/completions", "stream_options", note="the engine tells the counts unasked as well"
)
def test_counts_at_the_end_of_a_stream(daemon: DaemonProcess) -> None:
    """In the last chunk."""
    body = {"model": "tiny", "prompt": "Once", "max_tokens": 2, "stream": True}
    text = daemon.http.post(
        "/v1/completions", json={**body, "stream_options": {"include_usage": True}}
    ).text
    *_, last, done = [line for line in text.splitlines() if line]
    assert done == "data: [DONE]"
    assert json.loads(last[6:])["usage"]["completion_tokens"] == 2


@pytest.mark.covers("POST /v1/responses", "max_output_tokens")
@on("/v1/responses")
def test_an_answer_is_cut(ask: Ask) -> None:
    """As short as was asked for."""
    assert len(ask(temperature=0, max_output_tokens=2)) < len(ask(temperature=0))
