"""What makes an engine work for minutes before it counts the tokens never gets to it, on any route.

A text of 60 MB would be taken apart first, which takes a minute and gigabytes; a query of 100 KB is
read with each of 2,000 documents; templates look at all messages for each message.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess, running

CONTEXT = 1024
LONG = "word " * 120_000  # more words than tokens of the context
USER = [{"role": "user", "content": LONG}]
ARGUMENTS = json.dumps({"x": LONG})
USED = [
    {"role": "user", "content": "a"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": ARGUMENTS}}
        ],
    },
]
RESULT = {"role": "tool", "tool_call_id": "c", "content": "a"}
CALLED_IN_RESPONSES = [
    {"role": "user", "content": "a"},
    {"type": "function_call", "call_id": "c", "name": "f", "arguments": ARGUMENTS},
    {"type": "function_call_output", "call_id": "c", "output": "a"},
]
USED_BLOCKS = [
    {"role": "user", "content": "a"},
    {
        "role": "assistant",
        "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {"x": LONG}}],
    },
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "a"}]},
]
TURN = {"role": "user", "content": ""}
TOOLS = [{"type": "function", "function": {"name": f"f{n}"}, "name": "f"} for n in range(1025)]
RANKED = {"query": "word" * 2_200, "documents": ["x"] * 2000}
OURS = "as its length tells"

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with a model of a short context, and one that embeds."""
    folder = tmp_path_factory.mktemp("long")
    tiny.write_completion_model(folder / "tiny.gguf", context_length=CONTEXT)
    tiny.write_embedding_model(folder / "vectors.gguf")
    tiny.write_reranking_model(folder / "ranks.gguf")
    with running(folder / "d") as daemon:
        for name in ("tiny", "vectors", "ranks"):
            daemon.import_model(folder / f"{name}.gguf", name)
        yield daemon


@pytest.mark.parametrize(
    ("path", "members"),
    [
        ("/v1/completions", {"prompt": LONG}),
        ("/v1/completions", {"prompt": ["a", LONG]}),
        ("/v1/chat/completions", {"messages": USER}),
        ("/v1/responses", {"input": LONG}),
        ("/v1/messages", {"messages": USER, "max_tokens": 1}),
        ("/v1/messages", {"system": LONG, "messages": [USER[0] | {"content": "a"}]}),
        ("/api/chat", {"messages": USER}),
        ("/api/generate", {"prompt": LONG}),
        ("/v1/completions", {"prompt": "<|im_start|>" * 20_000}),
        ("/v1/embeddings", {"input": LONG, "model": "vectors"}),
        ("/engines/v1/embeddings", {"content": LONG, "model": "vectors"}),
        ("/v1/rerank", {"model": "ranks", "query": LONG, "documents": ["a"]}),
        ("/v1/rerank", {"model": "ranks", "query": "a", "texts": [LONG]}),
        ("/v1/responses", {"input": "a", "instructions": LONG}),
        ("/v1/responses", {"input": CALLED_IN_RESPONSES}),
        ("/v1/chat/completions", {"messages": [{"role": LONG, "content": "a"}]}),
        ("/v1/chat/completions", {"messages": [*USED, RESULT]}),
        ("/v1/messages", {"messages": USED_BLOCKS, "max_tokens": 1}),
    ],
)
def test_it_is_refused(daemon: DaemonProcess, path: str, members: dict[str, Any]) -> None:
    """In the words by which clients know it, before a model is loaded for it."""
    daemon.http.post("/engines/unload", json={"all": True, "force": True})
    response = daemon.http.post(path, json={"model": "tiny", **members})
    assert response.status_code == 400, response.text
    assert "maximum context length is" in response.text
    assert OURS in response.text
    assert daemon.ps() == []


def test_a_name_that_is_no_text(daemon: DaemonProcess) -> None:
    """Is the client's fault, also in a body of that size."""
    body = b'{"model":"tiny","messages":[{"\xff":1,"role":"user","content":"%b"}]}' % LONG.encode()
    response = daemon.http.post("/v1/chat/completions", content=body)
    assert response.status_code == 400, response.text
    assert "not valid JSON" in response.text


@pytest.mark.parametrize(
    ("path", "members", "told"),
    [
        ("/v1/chat/completions", {"messages": [TURN] * 4097}, "messages"),
        ("/v1/messages", {"messages": [TURN] * 4097, "max_tokens": 1}, "messages"),
        ("/api/chat", {"messages": [TURN] * 4097}, "messages"),
        ("/engines/v1/apply-template", {"messages": [TURN] * 4097}, "messages"),
        ("/v1/responses", {"input": [TURN] * 4097}, "input"),
        ("/v1/chat/completions", {"messages": [TURN], "tools": TOOLS}, "tools"),
        ("/v1/messages", {"messages": [TURN], "max_tokens": 1, "tools": TOOLS}, "tools"),
        ("/api/chat", {"messages": [TURN], "tools": TOOLS}, "tools"),
        ("/v1/messages/count_tokens", {"messages": [TURN], "tools": [0] * 20_000}, "tools"),
        ("/v1/chat/completions", {"messages": [TURN], "tools": [0] * 20_000}, "tools"),
        ("/v1/responses", {"input": "a", "tools": TOOLS}, "tools"),
        ("/v1/rerank", {"model": "ranks", **RANKED}, "rank fewer documents at a time"),
        ("/engines/v1/reranking", {"model": "ranks", **RANKED}, "rank fewer documents at a time"),
        ("/engines/v1/tokenize", {"content": "a" * (2**20 + 1)}, "have it tokenized in pieces"),
    ],
)
def test_little_that_makes_much_work(
    daemon: DaemonProcess, path: str, members: dict[str, Any], told: str
) -> None:
    """Is refused with what to do, before a model is loaded for it."""
    daemon.http.post("/engines/unload", json={"all": True, "force": True})
    response = daemon.http.post(path, json={"model": "tiny", **members})
    assert response.status_code in (400, 413), response.text
    assert told in response.text
    assert daemon.ps() == []


def test_many_documents_are_ranked(daemon: DaemonProcess) -> None:
    """By a query as people have them."""
    document = {"model": "ranks", "query": "word " * 20, "documents": ["x"] * 2000}
    found = daemon.http.post("/v1/rerank", json=document).raise_for_status().json()
    assert len(found["results"]) == 2000


def test_what_may_fit_is_for_the_engine_to_judge(daemon: DaemonProcess) -> None:
    """It counts tokens."""
    response = daemon.http.post("/v1/completions", json={"model": "tiny", "prompt": LONG[:15_000]})
    assert response.json()["error"]["code"] == "context_length_exceeded"
    assert OURS not in response.text


def test_a_long_conversation_is_shortened(daemon: DaemonProcess) -> None:
    """As Ollama does it: the oldest messages go, and the last one is answered."""
    message = {"role": "user", "content": LONG[:50_000]}
    document = {
        "model": "tiny",
        "messages": [message] * 14 + [{"role": "user", "content": "a"}],
        "options": {"num_predict": 1},
        "stream": False,
    }
    response = daemon.http.post("/api/chat", json=document)
    assert response.status_code == 200, response.text
    assert 0 < response.json()["prompt_eval_count"] < CONTEXT
    refused = daemon.http.post("/api/chat", json={**document, "truncate": False})
    assert OURS in refused.text


def test_long_texts_to_embed_are_cut(daemon: DaemonProcess) -> None:
    """As Ollama does it, and the others stay whole."""
    document = {"model": "vectors", "input": [LONG * 4, "a"]}
    found = daemon.http.post("/api/embed", json=document).raise_for_status().json()
    alone = daemon.http.post("/api/embed", json={**document, "input": "a"}).json()
    assert found["embeddings"][1] == pytest.approx(alone["embeddings"][0], abs=1e-3)
