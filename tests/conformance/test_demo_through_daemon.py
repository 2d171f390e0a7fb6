"""The demo models through the daemon: every fixed prompt exactly, streamed or not, none crossed."""

from __future__ import annotations

import json
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
    """A daemon with both demo models."""
    with running(tmp_path_factory.mktemp("demo")) as daemon:
        for name in ("demo-a", "demo-b"):
            daemon.import_model(_ROOT / "demo" / f"{name}.gguf", name)
        yield daemon


def ask(daemon: DaemonProcess, case: dict[str, Any], model: str, *, stream: bool) -> None:
    """Ask one fixed prompt and hold the answer against the expected one."""
    request = {"temperature": 0, **case["request"], "model": model, "stream": stream}
    with daemon.client() as client:
        answer = client.post("/v1/chat/completions", json=request)
    assert answer.status_code == 200, answer.text
    content, calls, reason = _streamed(answer.text) if stream else _whole(answer.json())
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
