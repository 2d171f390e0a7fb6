"""A request that cannot succeed starts nothing: it is refused before a runner is leased."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import DaemonProcess, running

pytestmark = pytest.mark.engine

USER = {"role": "user", "content": "x"}
CHAT, TEXT = {"messages": [USER]}, {"prompt": "x"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}


def chats(*contents: object) -> list[dict[str, Any]]:
    return [{"messages": [{"role": "user", "content": content}]} for content in contents]


_NO_LISTS: list[Any] = [None, 5, "x", True, {}, [5], ["x"], [None], [[]], [{}]]
_TURNS: list[dict[str, Any]] = [
    {},
    *({"messages": wrong} for wrong in _NO_LISTS),
    {"messages": [{"role": "user"}]},
    {"messages": [{"content": "x"}]},
    {"messages": [{"role": 5, "content": "x"}]},
    {"messages": [USER, {"role": "system"}]},
    *chats(5, True, {}, [5], [{"type": "text"}], [{"type": "text", "text": 5}]),
]
_NO_PART = [*chats([{}]), {"messages": [{"role": "assistant"}]}]
_PARAMETERS: list[dict[str, Any]] = [
    {"temperature": "warm"},
    {"top_p": []},
    {"seed": {}},
    {"max_tokens": -5},
    {"max_tokens": "many"},
    {"max_completion_tokens": 1e99},
    {"n": 0},
    {"stop": [5]},
    {"tools": "none"},
    {"tools": [5]},
    {"json_schema": "x"},
    {"echo": 5},
    {"stream": "yes"},
]
_CHAT_PARAMETERS: list[dict[str, Any]] = [
    {"top_logprobs": 2},
    {"top_logprobs": 2, "logprobs": False},
    {"response_format": {"type": "prose"}},
]
_VECTORS: list[dict[str, Any]] = [{"input": [[]]}, {"input": "x", "encoding_format": "hex"}]
_PROMPTS: list[Any] = [None, 5, True, {}, [], [None], [{}], [1.5], [-1], [True]]

_DOCUMENTS: list[Any] = [None, 5, "x", {}, [], [5], [None], ["x", 5], [{"text": "x"}]]
_QUERIES: list[Any] = [None, 5, ["x"]]
_CONTENTS: list[Any] = [None, 5, True, {}]
_TOKENS: list[Any] = [None, 5, "x", {}, ["x"]]
_INPUTS: list[dict[str, Any]] = [
    {},
    {"input": 5},
    {"input": []},
    {"input": [5]},
    {"input": [{}]},
    {"input": [{"role": "user"}]},
    {"input": [{"role": "nobody", "content": "x"}]},
]

BAD: list[tuple[str, str, dict[str, Any]]] = [
    *(("tiny", "/v1/chat/completions", body) for body in [*_TURNS, *_NO_PART]),
    *(("tiny", "/v1/chat/completions", CHAT | wrong) for wrong in _PARAMETERS),
    *(("tiny", "/v1/chat/completions", CHAT | wrong) for wrong in _CHAT_PARAMETERS),
    ("tiny", "/v1/chat/completions", chats([IMAGE])[0]),
    *(("tiny", "/v1/apply-template", body) for body in [*_TURNS, *_NO_PART]),
    *(("tiny", "/v1/messages", {"max_tokens": 1, **body}) for body in _TURNS),
    *(("tiny", "/v1/messages/count_tokens", body) for body in _TURNS),
    *(("tiny", "/v1/completions", {"prompt": wrong}) for wrong in _PROMPTS),
    ("tiny", "/v1/completions", {}),
    *(("tiny", "/v1/completions", TEXT | wrong) for wrong in _PARAMETERS if "tools" not in wrong),
    *(("embed", "/v1/embeddings", {"input": wrong}) for wrong in _PROMPTS),
    ("embed", "/v1/embeddings", {}),
    *(("embed", "/v1/embeddings", wrong) for wrong in _VECTORS),
    *(("tiny", "/v1/responses", body) for body in _INPUTS),
    *(("rerank", "/v1/rerank", {"query": "x", "documents": wrong}) for wrong in _DOCUMENTS),
    *(("rerank", "/v1/rerank", {"documents": ["x"], "query": wrong}) for wrong in _QUERIES),
    ("rerank", "/v1/rerank", {"query": "x"}),
    ("rerank", "/v1/rerank", {"documents": ["x"]}),
    *(("tiny", "/v1/tokenize", {"content": wrong}) for wrong in _CONTENTS),
    *(("tiny", "/v1/detokenize", {"tokens": wrong}) for wrong in _TOKENS),
    ("tiny", "/api/chat", {"messages": 5}),
    ("tiny", "/api/chat", {"messages": [{}]}),
    ("tiny", "/api/chat", {"messages": [USER], "options": {"temperature": "warm"}}),
    ("tiny", "/api/generate", {"prompt": 5}),
    ("embed", "/api/embed", {"input": [5]}),
    ("embed", "/v1/chat/completions", CHAT),
    ("tiny", "/v1/rerank", {"query": "x", "documents": ["x"]}),
]

ODD: list[tuple[str, str, dict[str, Any]]] = [
    ("tiny", "/v1/chat/completions", {"messages": []}),
    ("tiny", "/v1/chat/completions", {"messages": [{"role": "nobody", "content": None}]}),
    ("tiny", "/v1/chat/completions", {"messages": [USER, {"role": "assistant", "content": []}]}),
    ("tiny", "/v1/completions", {"prompt": ["x", [1, 2], {"prompt_string": "x"}]}),
    ("tiny", "/v1/completions", {"prompt": "", "temperature": True, "n": 1.5, "stop": 5}),
    ("tiny", "/v1/messages", {"max_tokens": 1, "messages": [{"role": "assistant"}, USER]}),
    ("embed", "/v1/embeddings", {"content": "x"}),
    ("rerank", "/v1/rerank", {"query": "", "texts": [""]}),
    ("tiny", "/v1/tokenize", {}),
    ("tiny", "/v1/detokenize", {"tokens": [1.5]}),
]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, gguf: Path) -> Iterator[DaemonProcess]:
    """A daemon that starts an engine only when one is needed."""
    with running(tmp_path_factory.mktemp("early")) as daemon:
        for name in ("tiny", "embed", "rerank"):
            daemon.import_model(gguf / f"{name}.gguf", name)
        yield daemon


def statuses(
    daemon: DaemonProcess, requests: list[tuple[str, str, dict[str, Any]]]
) -> list[tuple[int, str, dict[str, Any]]]:
    """Return what is answered, for the first tokens only."""
    return [
        (daemon.http.post(path, json={"model": model, **body}).status_code, path, body)
        for model, path, body in requests
    ]


def started_by(daemon: DaemonProcess, request: tuple[str, str, dict[str, Any]]) -> bool:
    """Say whether a request was answered or started an engine."""
    before = starts(daemon)
    return statuses(daemon, [request])[0][0] != 400 or starts(daemon) != before


def starts(daemon: DaemonProcess) -> int:
    return daemon.text().count(": starting /")


def test_what_no_engine_takes_starts_none(daemon: DaemonProcess) -> None:
    """Each is a 400 from a daemon without a runner, and so it is from the engine itself."""
    assert [request for request in BAD if started_by(daemon, request)] == []
    assert starts(daemon) == 0
    for model, path, body in (
        ("tiny", "/v1/completions", TEXT),
        ("embed", "/v1/embeddings", {"input": "x"}),
        ("rerank", "/v1/rerank", {"query": "x", "documents": ["x"]}),
    ):
        assert statuses(daemon, [(model, path, {**body, "max_tokens": 1})])[0][0] == 200
    assert starts(daemon) == 3
    assert [each for each in statuses(daemon, BAD) if each[0] != 400] == []


def test_what_an_engine_takes_is_not_refused(daemon: DaemonProcess) -> None:
    """However odd it is; each of these has to wait for a load."""
    for model, path, body in ODD:
        daemon.http.post("/engines/unload", json={"all": True})
        before = starts(daemon)
        request = (model, path, {"max_tokens": 1, **body})
        assert statuses(daemon, [request]) == [(200, path, request[2])]
        assert starts(daemon) == before + 1


def test_refusals_name_the_member_in_each_api(daemon: DaemonProcess) -> None:
    """In the shape of the API that was asked."""
    daemon.http.post("/engines/unload", json={"all": True})
    error = daemon.http.post("/v1/chat/completions", json={"model": "tiny"}).json()["error"]
    assert (error["message"], error["param"]) == ("messages is required", "messages")
    body = {"model": "tiny", "max_tokens": 1, "messages": [{"role": "user"}]}
    told = daemon.http.post("/v1/messages", json=body).json()
    assert told["error"]["message"] == "a message of 'user' must have content"
    assert told["type"] == "error"


def test_an_unanswerable_request_pulls_nothing(tmp_path: Path) -> None:
    """Where missing models are pulled, this is judged before, too."""
    with running(tmp_path, env={"RUNNERD_AUTO_PULL": "1"}) as daemon:
        answer = daemon.http.post("/v1/chat/completions", json={"model": "127.0.0.1:9/a/b"})
        assert answer.status_code == 400
        assert "messages is required" in answer.text
