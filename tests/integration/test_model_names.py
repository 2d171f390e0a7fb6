"""A model of several names: every response calls it what its own client did."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import DaemonProcess
from tests.support.wire import Wire, post

MESSAGES = [{"role": "user", "content": "x"}]
SHORT = {"max_tokens": 3}
STREAM = {"stream": True}
_NAMED = re.compile(r'"model": ?"([^"]*)"')

_ROUTES: list[tuple[str, str, dict[str, Any]]] = [
    ("tiny", "/v1/chat/completions", {"messages": MESSAGES, **SHORT}),
    ("tiny", "/v1/chat/completions", {"messages": MESSAGES, **SHORT, **STREAM}),
    ("tiny", "/v1/chat/completions", {"messages": MESSAGES, **SHORT, **STREAM, "n": 2}),
    ("tiny", "/v1/completions", {"prompt": "x", **SHORT}),
    ("tiny", "/v1/completions", {"prompt": "x", **SHORT, **STREAM}),
    ("tiny", "/v1/responses", {"input": "x", "max_output_tokens": 3}),
    ("tiny", "/v1/responses", {"input": "x", "max_output_tokens": 3, **STREAM}),
    ("tiny", "/v1/messages", {"messages": MESSAGES, **SHORT}),
    ("tiny", "/v1/messages", {"messages": MESSAGES, **SHORT, **STREAM}),
    ("tiny", "/api/chat", {"messages": MESSAGES, "options": {"num_predict": 3}}),
    ("embed", "/v1/embeddings", {"input": "x"}),
    ("embed", "/v1/embeddings", {"input": ["x", "y"], "dimensions": 4}),
    ("embed", "/api/embed", {"input": "x"}),
    ("rerank", "/v1/rerank", {"query": "x", "documents": ["x", "y"]}),
]


@pytest.fixture(scope="module")
def daemon(either: DaemonProcess, gguf: Path) -> DaemonProcess:
    """A daemon whose models have two names each, and are loaded under the first one."""
    for name in ("tiny", "embed", "rerank"):
        either.import_model(gguf / f"{name}.gguf", name)
        tagged = either.http.post(f"/models/{name}/tag", params={"repo": f"{name}-also"})
        assert tagged.status_code == 201
    return either


@pytest.mark.engine
@pytest.mark.parametrize(("model", "path", "body"), _ROUTES)
def test_every_answer_names_the_model_as_it_was_asked_for(
    daemon: DaemonProcess, model: str, path: str, body: dict[str, Any]
) -> None:
    """First by one name, then by the other, then by the first again."""
    for name in (model, f"{model}-also", f"ai/{model}:latest", model):
        response = daemon.http.post(path, json={"model": name, **body})
        if response.status_code == 501:
            pytest.skip("the fallback does not offer this")
        assert response.status_code == 200, response.text
        assert set(_NAMED.findall(response.text)) == {name}
        if not body.get("stream"):
            json.loads(response.text.splitlines()[-1])


@pytest.mark.engine
def test_streams_of_both_names_end_as_streams_do(daemon: DaemonProcess) -> None:
    """The framing is whole: [DONE] comes, and the connection takes the next request."""
    body = {"messages": MESSAGES, **SHORT, **STREAM}
    with Wire(daemon.socket) as wire:
        for name in ("tiny", "tiny-also", "tiny-also", "tiny"):
            wire.send(post("/v1/chat/completions", {"model": name, **body}))
            response = wire.read()
            assert response.status == 200
            assert response.body.strip().endswith(b"data: [DONE]")


@pytest.mark.engine
def test_a_client_without_chunks_gets_the_other_name_as_well(daemon: DaemonProcess) -> None:
    """HTTP/1.0: the connection's end is the body's."""
    for name in ("embed", "embed-also"):
        request = post("/v1/embeddings", {"model": name, "input": "x"})
        with Wire(daemon.socket) as wire:
            wire.send(request.replace(b"HTTP/1.1", b"HTTP/1.0", 1))
            assert wire.read().json()["model"] == name
