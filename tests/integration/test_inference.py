"""From a client's request to an engine's response, over the real wire, with both engines."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.support.daemon import DaemonProcess
from tests.support.plain_http import NO_TLS
from tests.support.waiting import wait_for

CHAT = {
    "model": "tiny",
    "messages": [{"role": "user", "content": "Hello"}],
    "temperature": 0,
    "max_tokens": 8,
    "seed": 1,
}
PREFIXES = ["/engines/llama.cpp/v1", "/engines/v1", "/v1", "/openai/v1", "/exp/vDD4.40/engines/v1"]


def events(text: str) -> list[dict[str, Any]]:
    """Return the events of a stream, which must end with [DONE]."""
    lines = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


@pytest.mark.engine
@pytest.mark.parametrize("prefix", PREFIXES)
def test_chat_answers_under_every_prefix(daemon: DaemonProcess, prefix: str) -> None:
    """A chat request gets an OpenAI answer with text and counts."""
    response = daemon.http.post(f"{prefix}/chat/completions", json=CHAT)
    assert response.status_code == 200, response.text
    document = response.json()
    assert document["object"] == "chat.completion"
    assert document["choices"][0]["message"]["role"] == "assistant"
    assert document["choices"][0]["finish_reason"] in ("length", "stop")
    assert document["usage"]["completion_tokens"] > 0
    assert response.headers["content-type"] == "application/json"


@pytest.mark.engine
@pytest.mark.parametrize("kind", [None, "application/x-www-form-urlencoded"])
def test_curl_needs_no_content_type_on_the_unix_socket(
    native: DaemonProcess, kind: str | None
) -> None:
    """`curl -d` just works where no web page can come from; on TCP it is told what to add."""
    headers = {} if kind is None else {"content-type": kind}
    path, body = "/engines/llama.cpp/v1/chat/completions", json.dumps(CHAT).encode()
    response = native.http.post(path, content=body, headers=headers)
    assert response.status_code == 200, response.text
    refused = httpx.post(native.address + path, content=body, headers=headers, verify=NO_TLS)
    assert refused.status_code == 415
    assert "Content-Type: application/json" in refused.json()["error"]["message"]


@pytest.mark.engine
@pytest.mark.parametrize("tokens", [1, 8])
def test_streamed_and_whole_answers_are_the_same(daemon: DaemonProcess, tokens: int) -> None:
    """What arrives in pieces is what arrives whole, also where there is but one."""
    chat = CHAT | {"max_tokens": tokens}
    whole = daemon.http.post("/v1/chat/completions", json=chat).json()
    assert (whole["object"], whole["model"]) == ("chat.completion", "tiny")
    streamed = daemon.http.post("/v1/chat/completions", json=chat | {"stream": True})
    assert streamed.status_code == 200
    assert streamed.headers["content-type"].startswith("text/event-stream")
    text = "".join(
        choice["delta"].get("content") or ""
        for event in events(streamed.text)
        for choice in event["choices"]
    )
    assert text == whole["choices"][0]["message"]["content"]


@pytest.mark.engine
def test_completions(daemon: DaemonProcess) -> None:
    """The older completion route, whole and streamed."""
    request = {"model": "tiny", "prompt": "Once", "max_tokens": 8, "temperature": 0}
    whole = daemon.http.post("/v1/completions", json=request)
    assert whole.status_code == 200, whole.text
    streamed = daemon.http.post("/v1/completions", json=request | {"stream": True})
    text = "".join(c["text"] for event in events(streamed.text) for c in event["choices"])
    assert text == whole.json()["choices"][0]["text"]


@pytest.mark.engine
def test_embeddings(daemon: DaemonProcess) -> None:
    """An embedding model embeds each text, the same one the same way."""
    response = daemon.http.post("/v1/embeddings", json={"model": "embed", "input": ["a", "b", "a"]})
    assert response.status_code == 200, response.text
    vectors = [entry["embedding"] for entry in response.json()["data"]]
    assert len(vectors) == 3
    assert len(vectors[0]) > 0
    assert vectors[0] == pytest.approx(vectors[2], abs=1e-5)


@pytest.mark.engine
def test_rerank(native: DaemonProcess) -> None:
    """A reranking model scores every document, under each of the route's names."""
    request = {"model": "rerank", "query": "a", "documents": ["b", "c", "d"]}
    for path in ("/v1/rerank", "/rerank", "/engines/llama.cpp/rerank"):
        response = native.http.post(path, json=request)
        assert response.status_code == 200, response.text
        assert sorted(r["index"] for r in response.json()["results"]) == [0, 1, 2]


@pytest.mark.engine
def test_responses_and_tokenize(native: DaemonProcess) -> None:
    """The engine's other routes are relayed as they are."""
    response = native.http.post(
        "/v1/responses", json={"model": "tiny", "input": "Hi", "max_output_tokens": 4}
    )
    assert response.status_code == 200, response.text
    assert response.json()["object"] == "response"
    tokens = native.http.post("/v1/tokenize", json={"model": "tiny", "content": "abc"})
    assert len(tokens.json()["tokens"]) > 0


@pytest.mark.engine
@pytest.mark.parametrize("either", ["python"], indirect=True)
def test_what_the_fallback_lacks_is_said_with_its_remedy(daemon: DaemonProcess) -> None:
    """The Python engine answers 501 for what it cannot do, and says what to install."""
    for path, request in (
        ("/v1/rerank", {"model": "rerank", "query": "a", "documents": ["b"]}),
        ("/v1/responses", {"model": "tiny", "input": "Hi"}),
    ):
        response = daemon.http.post(path, json=request)
        assert response.status_code == 501, response.text
        assert "runnerd install" in response.json()["error"]["message"]


@pytest.mark.engine
def test_wrong_model_is_misdirected(daemon: DaemonProcess) -> None:
    """421 on the runner's own socket and on the routes bound to it; its own model is served."""
    assert daemon.http.post("/v1/chat/completions", json=CHAT).status_code == 200
    [runner] = [r for r in daemon.ps() if r["model_name"] == "tiny" and r["mode"] == "completion"]
    for name, status in (("other", 421), ("nowhere", 421), ("tiny", 200)):
        request = CHAT | {"model": name}
        bound = daemon.http.post(f"/runners/{runner['id']}/v1/chat/completions", json=request)
        assert bound.status_code == status, bound.text
        with httpx.Client(
            transport=httpx.HTTPTransport(uds=runner["socket"], verify=NO_TLS)
        ) as client:
            own = client.post("http://localhost/v1/chat/completions", json=request)
        assert own.status_code == status, own.text
        if status == 421:
            assert bound.json()["error"]["code"] == own.json()["error"]["code"] == "model_mismatch"


@pytest.mark.parametrize(
    ("path", "content", "headers", "status", "code"),
    [
        pytest.param("/v1/chat/completions", b'{"model":"nowhere"}', {}, 404, "model_not_found", id="model"),  # noqa: E501
        pytest.param("/engines/x/v1/completions", b'{"model":"tiny"}', {}, 404, "backend_not_found", id="backend"),  # noqa: E501
        pytest.param("/runners/x/v1/completions", b'{"model":"tiny"}', {}, 404, "runner_not_found", id="runner"),  # noqa: E501
        pytest.param("/v1/nothing", b'{"model":"tiny"}', {}, 404, "route_not_found", id="route"),
        pytest.param("/v1/chat/completions", b"{", {}, 400, "invalid_request", id="not JSON"),
        pytest.param("/v1/chat/completions", b"{}", {}, 400, "invalid_request", id="no model"),
        pytest.param("/v1/embeddings", b'{"model":"rerank"}', {}, 400, "invalid_request", id="wrong kind"),  # noqa: E501
        pytest.param(
            "/v1/chat/completions", b"x", {"content-type": "text/plain"}, 415,
            "unsupported_media_type", id="media type",
        ),
        pytest.param(
            "/v1/chat/completions", b"x", {"content-encoding": "gzip"}, 415,
            "unsupported_media_type", id="compressed",
        ),
    ],
)  # fmt: skip
def test_error_has_its_status_and_openai_shape(
    native: DaemonProcess,
    path: str,
    content: bytes,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    """Every error is OpenAI-shaped JSON with the right status and a machine-readable code."""
    response = native.http.post(
        path, content=content, headers={"content-type": "application/json", **headers}
    )
    assert response.status_code == status, response.text
    assert response.json()["error"]["code"] == code
    assert response.json()["error"]["message"]
    assert response.headers["x-request-id"]


def test_wrong_method_is_405(native: DaemonProcess) -> None:
    """A known inference path with another method says which one it takes."""
    response = native.http.get("/v1/chat/completions")
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"


@pytest.mark.engine
def test_engines_own_refusal_is_passed_on(native: DaemonProcess) -> None:
    """A prompt beyond the context is the engine's 400, in OpenAI's shape, streamed or not."""
    request = {"model": "tiny", "prompt": "x " * 20_000, "max_tokens": 1}
    for stream in (False, True):
        response = native.http.post("/v1/completions", json=request | {"stream": stream})
        assert response.status_code == 400, response.text
        assert "context" in response.json()["error"]["message"]


@pytest.mark.engine
def test_hundred_first_requests_start_one_engine(native: DaemonProcess) -> None:
    """A hundred simultaneous first requests are answered by one process."""
    native.http.post("/engines/unload", json={"all": True})
    wait_for(lambda: not native.engines(), "the engines to end")

    def ask(_: int) -> tuple[int, str]:
        with native.client() as client:
            response = client.post("/v1/chat/completions", json=CHAT)
            return response.status_code, response.text

    started = native.text().count("tiny: ready after")
    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(ask, range(100)))
    assert [status for status, _ in answers] == [200] * 100, answers[0]
    assert native.text().count("tiny: ready after") == started + 1
    assert len(native.engines()) == 1


@pytest.mark.engine
def test_origin_is_recorded_as_a_label(native: DaemonProcess) -> None:
    """X-Request-Origin is kept with the request; what is no label is dropped."""
    for origin, expected in (("ollama/completion", "ollama/completion"), ("a b\tc", None)):
        native.http.post("/v1/chat/completions", json=CHAT, headers={"x-request-origin": origin})
        last = native.http.get("/engines/requests").json()[-1]
        assert last["origin"] == expected
        assert (last["status_code"], last["operation"]) == (200, "chat/completions")


@pytest.mark.engine
def test_preload_loads_and_answers_nothing(native: DaemonProcess) -> None:
    """X-Preload-Only loads the model and generates nothing (wire contract of DMR)."""
    native.http.post("/engines/unload", json={"all": True})
    response = native.http.post(
        "/engines/v1/chat/completions",
        json={"model": "other", "messages": []},
        headers={"x-preload-only": "true"},
    )
    assert (response.status_code, response.content) == (200, b"")
    assert [runner["model_name"] for runner in native.ps()] == ["other"]


@pytest.mark.engine
def test_models_are_loaded_without_a_connection(native: DaemonProcess) -> None:
    """Several at once, each for its own purpose; all of them are there when it is answered."""
    native.http.post("/engines/unload", json={"all": True})
    names = ["other", "embed", "rerank"]
    response = native.http.post("/engines/load", json={"models": names})
    assert (response.status_code, response.json()) == (200, {"loaded_models": names})
    modes = {runner["model_name"]: runner["mode"] for runner in native.ps()}
    assert modes == {"other": "completion", "embed": "embedding", "rerank": "reranking"}
    asked = native.http.get("/engines/requests").json()[-3:]
    assert {(each["status_code"], each["bytes_out"], each["error"]) for each in asked} == {
        (200, 0, None)
    }


@pytest.mark.parametrize(
    ("document", "status", "word"),
    [
        ({"models": ["other", "absent"]}, 404, "absent"),
        ({"models": []}, 400, "models"),
        ({"models": "other"}, 400, "models"),
    ],
)
def test_what_cannot_be_loaded_is_told(
    native: DaemonProcess, document: dict[str, object], status: int, word: str
) -> None:
    """As a request for it would be."""
    response = native.http.post("/engines/load", json=document)
    assert response.status_code == status
    assert word in response.json()["error"]["message"]
