"""The demo models through the daemon: every fixed prompt exactly, streamed or not, none crossed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import DaemonProcess, running

pytestmark = pytest.mark.engine

_ROOT = Path(__file__).parents[2]
_ANSWERS = json.loads((_ROOT / "tests" / "demo_answers.json").read_text())
_CASES = [(case, model) for case in _ANSWERS["chat"] for model in ("demo-a", "demo-b")]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with all demo models."""
    with running(tmp_path_factory.mktemp("demo")) as daemon:
        for name in ("demo-a", "demo-b", "demo-embed", "demo-rerank"):
            daemon.import_model(_ROOT / "demo" / f"{name}.gguf", name)
        yield daemon


def ask(daemon: DaemonProcess, case: dict[str, Any], model: str, *, stream: bool) -> None:
    """Ask one fixed prompt and hold the response against the expected one."""
    request = {"temperature": 0, **case["request"], "model": model, "stream": stream}
    with daemon.client() as client:
        response = client.post("/v1/chat/completions", json=request)
    assert response.status_code == 200, response.text
    content, calls, reason = _streamed(response.text) if stream else _whole(response.json())
    expected = case["answers"][model]
    assert (content or None) == (expected["content"] or None), (case["id"], model)
    assert reason == expected["finish_reason"], (case["id"], model)
    assert calls == expected.get("tool_calls", []), (case["id"], model)


def _whole(document: dict[str, Any]) -> tuple[str | None, list[dict[str, Any]], str]:
    [choice] = document["choices"]
    functions = [call["function"] for call in choice["message"].get("tool_calls", [])]
    return choice["message"].get("content"), _calls(functions), choice["finish_reason"]


def _streamed(text: str) -> tuple[str, list[dict[str, Any]], str]:
    content, reason = "", ""
    functions: dict[int, dict[str, Any]] = {}
    lines = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    assert lines.pop() == "[DONE]"
    for line in lines:
        for choice in json.loads(line)["choices"]:
            content += choice["delta"].get("content") or ""
            reason = choice["finish_reason"] or reason
            for call in choice["delta"].get("tool_calls", []):
                function = functions.setdefault(call["index"], {"name": "", "arguments": ""})
                function["name"] = call["function"].get("name") or function["name"]
                function["arguments"] += call["function"].get("arguments") or ""
    return content, _calls([functions[index] for index in sorted(functions)]), reason


def _calls(functions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"name": function["name"], "arguments": json.loads(function["arguments"])}
        for function in functions
    ]


@pytest.mark.parametrize("stream", [False, True])
def test_every_fixed_prompt_is_answered_exactly(daemon: DaemonProcess, stream: bool) -> None:
    """All fixed prompts, one after the other, with both models."""
    assert len(_ANSWERS["chat"]) >= 30
    for case, model in _CASES:
        ask(daemon, case, model, stream=stream)


def test_mixed_concurrent_requests_are_never_crossed(daemon: DaemonProcess) -> None:
    """Sixty-four requests at a time, to both models, streamed and not: each gets its own answer."""
    with ThreadPoolExecutor(64) as pool:
        tasks = [
            pool.submit(ask, daemon, case, model, stream=number % 2 == 0)
            for number, (case, model) in enumerate(_CASES)
        ]
        for task in tasks:
            task.result()


def test_a_long_stream_comes_in_order_and_in_many_pieces(daemon: DaemonProcess) -> None:
    """Each number of a count arrives in an event of its own or an earlier one's."""
    question = {"role": "user", "content": "Count from 1 to 100."}
    request = {"model": "demo-b", "messages": [question], "temperature": 0, "stream": True}
    pieces = []
    with (
        daemon.client() as client,
        client.stream("POST", "/v1/chat/completions", json=request) as (response),
    ):
        for line in response.iter_lines():
            if line.startswith("data: {"):
                for choice in json.loads(line[6:])["choices"]:
                    pieces.append(choice["delta"].get("content") or "")
    assert "".join(pieces) == ", ".join(map(str, range(1, 101))) + "."
    assert len(pieces) >= 100


def test_a_conversation_reuses_its_context(daemon: DaemonProcess) -> None:
    """The second turn evaluates only what is new: the engine still holds the first."""
    messages = [{"role": "user", "content": "My favourite colour is blue."}]
    first = _turn(daemon, messages)
    messages += [
        {"role": "assistant", "content": "I will remember your colour."},
        {"role": "user", "content": "What is my favourite colour?"},
    ]
    second = _turn(daemon, messages)
    assert first["choices"][0]["message"]["content"] == "I will remember your colour."
    assert second["choices"][0]["message"]["content"] == "Your favourite colour is blue."
    usage = second["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] >= first["usage"]["prompt_tokens"] - 1


def _turn(daemon: DaemonProcess, messages: list[dict[str, str]]) -> dict[str, Any]:
    request = {"model": "demo-a", "messages": messages, "temperature": 0}
    document = daemon.http.post("/v1/chat/completions", json=request).json()
    assert isinstance(document, dict)
    return document


def test_related_sentences_are_nearer_than_unrelated_ones(daemon: DaemonProcess) -> None:
    """demo-embed's vectors come back whole and in the order of the texts."""
    for triple in _ANSWERS["embed"]:
        texts = [triple["anchor"], triple["near"], triple["far"]]
        request = {"model": "demo-embed", "input": texts}
        response = daemon.http.post("/v1/embeddings", json=request).json()
        assert [row["index"] for row in response["data"]] == [0, 1, 2]
        anchor, near, far = (row["embedding"] for row in response["data"])
        assert _cosine(anchor, near) > _cosine(anchor, far) + 0.2, triple


def test_fitting_documents_are_ranked_first(daemon: DaemonProcess) -> None:
    """demo-rerank's scores belong to the documents that were sent."""
    for ranking in _ANSWERS["rerank"]:
        request = {"model": "demo-rerank"} | {
            name: ranking[name] for name in ("query", "documents")
        }
        results = daemon.http.post("/v1/rerank", json=request).json()["results"]
        results.sort(key=lambda result: -result["relevance_score"])
        first = {result["index"] for result in results[: len(ranking["relevant"])]}
        assert first == set(ranking["relevant"]), ranking["query"]


def _cosine(one: list[float], other: list[float]) -> float:
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return product / (math.hypot(*one) * math.hypot(*other))
