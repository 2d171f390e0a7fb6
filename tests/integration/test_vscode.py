"""What VS Code's chat asks of an Ollama and of a custom endpoint, in its order and its words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.daemon import DaemonProcess, running
from tests.support.plain_http import NO_TLS

pytestmark = pytest.mark.engine

LEAST = (0, 6, 4)  # the oldest Ollama that it takes
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with a model that calls tools."""
    with running(tmp_path_factory.mktemp("d")) as daemon:
        daemon.import_model(Path(__file__).parents[2] / "demo" / "demo-a.gguf", "demo-a")
        yield daemon


@pytest.fixture
def vscode(daemon: DaemonProcess) -> Iterator[httpx.Client]:
    """Over TCP, as an editor comes."""
    with httpx.Client(base_url=daemon.address, timeout=60, verify=NO_TLS) as client:
        yield client


def test_its_models_are_found(vscode: httpx.Client) -> None:
    """Version, list, and of each model its name, its context, and that it knows tools."""
    version = vscode.get("/api/version").json()["version"]
    assert tuple(int(part) for part in re.findall(r"\d+", version)[:3]) >= LEAST
    [model] = vscode.get("/api/tags").json()["models"]
    shown = vscode.post("/api/show", json={"model": model["model"]}).json()
    info = shown["model_info"]
    assert info["general.basename"]
    assert info[f"{info['general.architecture']}.context_length"] > 0
    assert "tools" in shown["capabilities"]
    assert shown["details"]["family"]


@pytest.mark.parametrize("authorization", [None, "Bearer", "Bearer none"])
def test_an_agents_turn(vscode: httpx.Client, authorization: str | None) -> None:
    """A stream with tools, limits and usage; the call's result goes back, and ends the turn."""
    headers = {} if authorization is None else {"Authorization": authorization}
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "You are an expert AI programming assistant."},
        {"role": "user", "content": [{"type": "text", "text": "What is the weather in Paris?"}]},
    ]
    call, usage = turn(vscode, messages, headers)
    assert (call["name"], json.loads(call["arguments"])) == ("get_weather", {"city": "Paris"})
    assert usage["completion_tokens"] > 0
    function = {"name": call["name"], "arguments": call["arguments"]}
    messages += [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": call["id"], "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": call["id"], "content": "sunny"},
    ]
    text, _ = turn(vscode, messages, headers)
    assert "unny" in text["content"]


def turn(
    client: httpx.Client, messages: list[dict[str, Any]], headers: dict[str, str]
) -> tuple[dict[str, str], dict[str, int]]:
    """One request; what its stream brings, put together, and the tokens."""
    body = {
        "model": "demo-a:latest",
        "messages": messages,
        "temperature": 0,
        "top_p": 1,
        "max_tokens": 200,
        "n": 1,
        "stream": True,
        "stream_options": {"include_usage": True},
        "tools": [TOOL],
        "tool_choice": "auto",
    }
    found = {"content": "", "name": "", "arguments": "", "id": ""}
    usage: dict[str, int] = {}
    url = "/v1/chat/completions"
    with client.stream("POST", url, json=body, headers=headers) as response:
        assert response.status_code == 200, response.read()
        for line in response.iter_lines():
            if not line.startswith("data: {"):
                continue
            event = json.loads(line.removeprefix("data: "))
            usage = event.get("usage") or usage
            for choice in event["choices"]:
                delta = choice["delta"]
                found["content"] += delta.get("content") or ""
                for part in delta.get("tool_calls") or ():
                    found["id"] = part.get("id") or found["id"]
                    for name, text in part["function"].items():
                        found[name] += text or ""
    return found, usage
