"""A client's side of `/runnerd/sessions`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx

from runnerd.sse import EventSplitter, parse

SYSTEM = "You answer briefly. " + "The quick brown fox jumps. " * 20
GREEDY = {"temperature": 0, "max_tokens": 16}


def make(http: httpx.Client, **more: Any) -> str:
    """A session's id."""
    document = {"model": "a", "system": SYSTEM, "parameters": GREEDY, **more}
    response = http.post("/runnerd/sessions", json=document)
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


def events(response: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events of a prompt's response as they come."""
    splitter = EventSplitter()
    for piece in response.iter_bytes():
        for text in splitter.feed(piece):
            if (event := parse(text)).data:
                yield event.type, json.loads(event.data)


def prompt(http: httpx.Client, id: str, text: object, **more: Any) -> dict[str, Any]:
    """Say something; return the turn, which is what was streamed."""
    path = f"/runnerd/sessions/{id}/prompt"
    with http.stream("POST", path, json={"prompt": text, **more}) as response:
        assert response.status_code == 200, response.read()
        told = list(events(response))
    assert [kind for kind, _ in told[:-1]] == ["delta"] * (len(told) - 1)
    kind, end = told[-1]
    assert kind == "end", told[-1]
    turn: dict[str, Any] = end["turn"]
    assert "".join(said["text"] for _, said in told[:-1]) == turn["response"]
    return turn


def evaluated(turn: dict[str, Any]) -> int:
    """How many tokens of a turn's prompt the engine had to evaluate."""
    usage = turn["usage"]
    return int(usage["prompt_tokens"] - usage["cached_tokens"])


def history(http: httpx.Client, id: str) -> list[dict[str, Any]]:
    """The turns of a session."""
    response = http.get(f"/runnerd/sessions/{id}")
    assert response.status_code == 200, response.text
    return list(response.json()["history"])
