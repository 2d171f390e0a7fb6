"""What `/api/generate`, `/api/chat` and `/api/embed` take beside a prompt, over the real wire."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import ollama
import pytest

from runnerd.api.ollama.context_codec import remember
from tests.support.clients import ollama_client
from tests.support.daemon import DaemonProcess, running
from tests.support.ggufs import write_coder
from tests.support.plain_http import NO_TLS

pytestmark = pytest.mark.engine

_DEMO = Path(__file__).parents[2] / "demo"
NAME = "What is your name?"
GREEDY = {"temperature": 0}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with demo models, one that fills in the middle and one that thinks."""
    root = tmp_path_factory.mktemp("generate")
    write_coder(root / "coder.gguf")
    with running(root) as daemon:
        for name in ("demo-a", "demo-embed"):
            daemon.import_model(_DEMO / f"{name}.gguf", name)
        daemon.import_model(root / "coder.gguf", "coder")
        with ollama_client(daemon) as client:
            client.create("short", from_="demo-a", parameters={"num_ctx": 256, "temperature": 0})
        yield daemon


@pytest.fixture
def client(daemon: DaemonProcess) -> Iterator[ollama.Client]:
    """Ollama's client."""
    with ollama_client(daemon) as client:
        yield client


def post(daemon: DaemonProcess, path: str, **body: Any) -> httpx.Response:
    """Send what the client cannot express."""
    return httpx.post(
        f"{daemon.address}{path}", json={"stream": False, **body}, timeout=60, verify=NO_TLS
    )


@pytest.mark.covers("POST /api/generate", "context", note="opaque: no tokens")
def test_context_goes_on_with_a_conversation(client: ollama.Client) -> None:
    """What a response returns is given back as it is, and the model knows what was said."""
    told = client.generate("demo-a", "My favourite colour is green.", options=GREEDY)
    assert told.context is not None
    asked = "What is my favourite colour?"
    answer = client.generate("demo-a", asked, context=told.context, options=GREEDY)
    assert "green" in (answer.response or "")
    parts = list(
        client.generate("demo-a", asked, context=told.context, options=GREEDY, stream=True)
    )
    assert parts[-1].context == answer.context
    assert len(answer.context or ()) > len(told.context)
    assert all(part.context is None for part in parts[:-1])


@pytest.mark.parametrize("context", [[1, 2, 3], ["x"], [0x52440001, 2**24], [0x52440001, -1], "x"])
def test_a_foreign_context_is_refused(daemon: DaemonProcess, context: Any) -> None:
    """Token numbers of another server mean nothing here, and no number breaks anything."""
    answer = post(daemon, "/api/generate", model="demo-a", prompt=NAME, context=context)
    assert answer.status_code == 400
    assert "context" in answer.json()["error"]


def test_raw_has_no_context_and_takes_none(daemon: DaemonProcess) -> None:
    """As with Ollama."""
    body = {"model": "demo-a", "prompt": "x", "raw": True, "options": {"num_predict": 1}}
    assert "context" not in post(daemon, "/api/generate", **body).json()
    for more in ({"context": [1]}, {"system": "x"}, {"template": "x"}):
        assert post(daemon, "/api/generate", **body, **more).status_code == 400


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.covers("POST /api/generate", "suffix")
def test_suffix_fills_in_the_middle(client: ollama.Client, stream: bool) -> None:
    """The engine gets both sides; counts and reason are there."""
    asked: dict[str, Any] = {"suffix": "return c", "options": {"num_predict": 4, "temperature": 0}}
    if stream:
        parts = list(client.generate("coder", "def add(", stream=True, **asked))
        text = "".join(part.response or "" for part in parts)
    else:
        parts = [client.generate("coder", "def add(", **asked)]
        text = parts[0].response or ""
    assert text
    assert (parts[-1].eval_count, parts[-1].done_reason) == (4, "length")
    assert (parts[-1].prompt_eval_count or 0) > len("def add(return c") - 8


def test_suffix_needs_a_model_that_can(client: ollama.Client) -> None:
    """Others say so."""
    with pytest.raises(ollama.ResponseError, match="does not support insert") as caught:
        client.generate("demo-a", "a", suffix="b")
    assert caught.value.status_code == 400


@pytest.mark.covers("POST /api/generate", "template", note="Go, without images")
def test_a_template_of_the_request(client: ollama.Client, daemon: DaemonProcess) -> None:
    """It makes the prompt instead of the model's; a wrong one is refused with its fault."""
    template = (
        "<|im_start|>system\nYou are Ada.<|im_end|>\n"
        "<|im_start|>user\n{{ .Prompt }}<|im_end|>\n<|im_start|>assistant\n{{ .Response }}after"
    )
    answer = client.generate("demo-a", NAME, template=template, options=GREEDY)
    assert (answer.response or "").strip() == "My name is Ada."
    wrong = post(daemon, "/api/generate", model="demo-a", prompt=NAME, template="{{ .No }}")
    assert wrong.status_code == 400
    assert ".No" in wrong.json()["error"]


@pytest.mark.covers("POST /api/generate", "logprobs", "top_logprobs")
@pytest.mark.covers("POST /api/chat", "logprobs", "top_logprobs")
def test_logprobs(client: ollama.Client) -> None:
    """Each token with its probability and alternatives, as many as were asked for."""
    asked: dict[str, Any] = {"options": {**GREEDY, "num_predict": 3}, "logprobs": True}
    for top in (0, 2):
        whole = client.generate("demo-a", NAME, top_logprobs=top, **asked)
        parts = list(client.generate("demo-a", NAME, top_logprobs=top, stream=True, **asked))
        chat = client.chat("demo-a", [{"role": "user", "content": NAME}], top_logprobs=top, **asked)
        raw = client.generate(
            "demo-a",
            f"<|im_start|>user\n{NAME}<|im_end|>\n<|im_start|>assistant\n",
            raw=True,
            top_logprobs=top,
            **asked,
        )
        streamed = [token for part in parts for token in part.logprobs or ()]
        assert [token.token for token in whole.logprobs or ()] == ["My", " name", " is"]
        for found in (whole.logprobs, streamed, chat.logprobs, raw.logprobs):
            assert found is not None
            assert len(found) == 3
            assert all(token.logprob <= 0 for token in found)
            assert {len(token.top_logprobs or ()) for token in found} == {top}


def test_top_logprobs_have_bounds(daemon: DaemonProcess) -> None:
    """0 to 20."""
    for wrong in (-1, 21, "x", 1.5):
        answer = post(daemon, "/api/chat", model="demo-a", messages=[], top_logprobs=wrong)
        assert answer.status_code == 400


@pytest.mark.covers("POST /api/chat", "truncate")
def test_the_oldest_messages_go_where_the_context_is_full(
    client: ollama.Client, daemon: DaemonProcess
) -> None:
    """The system message and the last one stay; `truncate: false` asks for the error."""
    filler = [
        {"role": role, "content": f"word {number} " * 12}
        for number in range(12)
        for role in ("user", "assistant")
    ]
    messages = [
        {"role": "system", "content": "You are Ada."},
        *filler,
        {"role": "user", "content": NAME},
    ]
    answer = post(daemon, "/api/chat", model="short", messages=messages)
    assert answer.status_code == 200, answer.text
    assert 20 < answer.json()["prompt_eval_count"] <= 256
    streamed = client.chat("short", messages, stream=True)
    assert [part.done for part in streamed][-1]
    refused = post(daemon, "/api/chat", model="short", messages=messages, truncate=False)
    assert refused.status_code == 400
    assert "context" in refused.json()["error"]
    one = [{"role": "user", "content": "word " * 900}]
    assert post(daemon, "/api/chat", model="short", messages=one).status_code == 400


@pytest.mark.covers("POST /api/generate", "truncate")
def test_the_oldest_turns_of_a_context_go(daemon: DaemonProcess) -> None:
    """A conversation that is longer than the context goes on without its beginning."""
    turns = [(role, f"word {n} " * 12) for n in range(12) for role in ("user", "assistant")]
    body = {"model": "short", "prompt": NAME, "context": remember(turns)}
    answer = post(daemon, "/api/generate", **body)
    assert answer.status_code == 200, answer.text
    assert 20 < answer.json()["prompt_eval_count"] <= 256
    assert post(daemon, "/api/generate", **body, truncate=False).status_code == 400


@pytest.mark.covers("POST /api/embed", "truncate", "input:list")
def test_long_texts_are_cut_to_be_embedded(daemon: DaemonProcess) -> None:
    """All vectors come; `truncate: false` asks for the error."""
    texts = ["a cat", "a dog and a cat " * 2000, "b"]
    answer = post(daemon, "/api/embed", model="demo-embed", input=texts)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["embeddings"]) == 3
    refused = post(daemon, "/api/embed", model="demo-embed", input=texts, truncate=False)
    assert refused.status_code == 400
    assert "context" in refused.json()["error"]


@pytest.mark.covers("POST /api/embed", "dimensions", "input")
def test_dimensions_cut_and_scale(client: ollama.Client) -> None:
    """A shorter vector is the start of the long one, of length one again."""
    [whole] = client.embed("demo-embed", "a cat").embeddings
    [short] = client.embed("demo-embed", "a cat", dimensions=5).embeddings
    length = math.sqrt(sum(value * value for value in whole[:5]))
    assert list(short) == pytest.approx([value / length for value in whole[:5]])


@pytest.mark.parametrize(
    ("path", "body", "what"),
    [
        ("/api/chat", {"messages": [{"role": "user", "content": "x"}], "think": True}, "thinking"),
        ("/api/generate", {"prompt": "x", "think": "high"}, "thinking"),
        ("/api/generate", {"prompt": "x", "images": ["iVBORw0KGgo="]}, "vision"),
        (
            "/api/chat",
            {"messages": [{"role": "user", "content": "x", "images": ["aGk="]}]},
            "vision",
        ),
    ],
)
@pytest.mark.covers("POST /api/chat", "images", how="refused", note="by models that do not see")
def test_what_a_model_cannot_do_is_refused(
    daemon: DaemonProcess, path: str, body: dict[str, Any], what: str
) -> None:
    """In Ollama's words, which its clients look for."""
    answer = post(daemon, path, model="demo-a", **body)
    assert answer.status_code == 400
    assert answer.json()["error"] == f'"demo-a" does not support {what}'


def test_tools_need_a_template_for_them(daemon: DaemonProcess) -> None:
    """A model whose template knows no tools is not asked to use any."""
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    said = [{"role": "user", "content": "x"}]
    answer = post(daemon, "/api/chat", model="coder", messages=said, tools=[tool])
    assert (answer.status_code, answer.json()["error"]) == (
        400,
        '"coder" does not support tools',
    )


@pytest.mark.parametrize("think", [False, None])
@pytest.mark.covers("POST /api/generate", "think")
def test_not_to_think_is_always_possible(daemon: DaemonProcess, think: Any) -> None:
    """Clients send it whatever the model."""
    answer = post(daemon, "/api/generate", model="demo-a", prompt=NAME, think=think)
    assert answer.json()["response"] == "My name is Demo A."


def test_separators_inside_a_text_do_not_break_lines(daemon: DaemonProcess) -> None:
    """U+0085 and U+2028 come back escaped, however a client splits lines."""
    odd = "\u0085\u2028\u2029\x0c\U0001f999"
    tell = [{"role": "user", "content": f'Repeat "{odd}".'}]
    body = {"model": "demo-a", "messages": tell, "stream": True, "options": {"num_predict": 40}}
    text = httpx.post(f"{daemon.address}/api/chat", json=body, timeout=60, verify=NO_TLS).content
    assert text.isascii()
    assert all(json.loads(line) for line in text.decode().splitlines())


def test_raw_text_can_be_bound_to_a_schema(daemon: DaemonProcess) -> None:
    """Without a template a format binds what is said as well."""
    schema = {"type": "object", "properties": {"n": {"enum": [7]}}, "required": ["n"]}
    body = {"model": "coder", "prompt": "x", "raw": True, "options": {"num_predict": 60}}
    answer = post(daemon, "/api/generate", **body, format=schema)
    assert json.loads(answer.json()["response"]) == {"n": 7}


@pytest.mark.covers("POST /api/generate", "shift", how="ignored", note="said in a Warning header")
@pytest.mark.covers("POST /api/chat", "shift", how="ignored", note="said in a Warning header")
def test_shift_is_said_to_do_nothing(daemon: DaemonProcess) -> None:
    """Who asks for it hears so; who does not hears nothing."""
    body = {"model": "demo-a", "prompt": NAME}
    assert "shift" in post(daemon, "/api/generate", **body, shift=True).headers["warning"]
    assert "warning" not in post(daemon, "/api/generate", **body, shift=False).headers


def test_curl_needs_no_header(daemon: DaemonProcess) -> None:
    """Ollama's examples are `curl -d`; what a web page could send is still refused."""
    body = b'{"model": "demo-a", "prompt": "What is your name?", "stream": false}'
    url, form = f"{daemon.address}/api/generate", "application/x-www-form-urlencoded"
    answer = httpx.post(url, content=body, headers={"content-type": form}, verify=NO_TLS)
    assert answer.json()["response"] == "My name is Demo A."
    for headers in (
        {"content-type": "text/plain"},
        {"content-type": form, "sec-fetch-site": "none"},
        {"content-type": form, "origin": "http://localhost:1"},
    ):
        assert httpx.post(url, content=body, headers=headers, verify=NO_TLS).status_code in (
            403,
            415,
        )


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "demo-a", "prompt": "\xff\xfe"}',
        b'{"model": "demo-a", "prompt": "\xf0\x9f"}',
        b"[" * 2000,
        b'{"model": ' + b'{"a":' * 900 + b"1" + b"}" * 901,
        b"",
        b"null",
    ],
)
def test_broken_text_is_a_clear_error(daemon: DaemonProcess, body: bytes) -> None:
    """Bytes that are no text, and what is no object: 400 with a reason."""
    for path in ("chat", "generate", "embed", "show", "create"):
        answer = httpx.post(f"{daemon.address}/api/{path}", content=body, verify=NO_TLS)
        assert answer.status_code == 400, (path, answer.text)
        assert isinstance(answer.json()["error"], str)


def test_half_a_letter_is_told_as_a_missing_one(daemon: DaemonProcess) -> None:
    """As JavaScript's programs cut texts; a name with one is a model that is not here."""
    for prompt in (b"\\ud83d", b"\\udc00x\\ud800"):
        body = b'{"model": "demo-a", "stream": false, "prompt": "%s"}' % prompt
        response = httpx.post(
            f"{daemon.address}/api/generate", content=body, timeout=60, verify=NO_TLS
        )
        assert response.status_code == 200, response.text
    body = b'{"model": "\\ud800", "prompt": "x"}'
    assert httpx.post(
        f"{daemon.address}/api/generate", content=body, verify=NO_TLS
    ).status_code in (400, 404)
