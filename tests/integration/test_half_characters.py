"""Tokens that are half a character, from a real engine, where probabilities are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runnerd.models import tiny
from tests.support.daemon import running

pytestmark = pytest.mark.engine

_HALF = {"token": "\ufffd", "bytes": [0xC3]}
_ASKED = {"max_tokens": 1, "logprobs": True, "grammar": "root ::= [a-z]+"}
_USER = [{"role": "user", "content": "x"}]


def halves(found: dict[str, Any]) -> list[dict[str, Any]]:
    """What is told of the half character among the alternatives to the first token."""
    alternatives = found["content"][0]["top_logprobs"]
    return [
        {"token": each["token"], "bytes": each["bytes"]}
        for each in alternatives
        if each["bytes"] == [0xC3]
    ]


def test_half_a_character(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`bytes` are exact and the text is U+FFFD, whole and streamed, in each API."""
    monkeypatch.setattr(tiny, "PRINTABLE", set("\u00c3abc"))  # how the vocabulary writes 0xC3
    tiny.write_completion_model(tmp_path / "half.gguf")
    with running(tmp_path / "daemon") as daemon:
        daemon.import_model(tmp_path / "half.gguf", "half")
        chat = {"model": "half", "messages": _USER, "top_logprobs": 4, **_ASKED}
        whole = daemon.http.post("/v1/chat/completions", json=chat).json()
        assert halves(whole["choices"][0]["logprobs"]) == [_HALF]
        streamed = daemon.http.post("/v1/chat/completions", json=chat | {"stream": True}).text
        events = [json.loads(line[6:]) for line in streamed.splitlines() if '"logprobs":{' in line]
        assert [halves(each["choices"][0]["logprobs"]) for each in events] == [[_HALF]]
        options = {"num_predict": 1}
        ollama = {"model": "half", "messages": _USER, "stream": False, "options": options}
        ollama |= {"logprobs": True, "top_logprobs": 4, "format": {"type": "boolean"}}
        told = daemon.http.post("/api/chat", json=ollama).json()
        assert halves({"content": told["logprobs"]}) == [_HALF]
