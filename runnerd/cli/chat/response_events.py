"""What a streamed chat sends: pieces of text, and at its end how long everything took."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from runnerd import sse
from runnerd.cli.client import Client
from runnerd.errors import RunnerdError

_BROKEN = "the response broke off"


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text; `reasoning` says that the model thinks, and does not answer yet."""

    text: str
    reasoning: bool = False


@dataclass
class StreamedChat:
    """One response, read while it comes.  `timings` and `usage` are there once it has ended."""

    client: Client
    document: dict[str, object]
    timings: dict[str, Any] = field(default_factory=dict)
    usage: dict[str, Any] = field(default_factory=dict)

    def pieces(self) -> Iterator[Piece]:
        """Ask, and yield the text as it comes.  Raises RunnerdError."""
        finished = False
        with self.client.open("POST", "/v1/chat/completions", self.document) as response:
            for event in _events(response):
                if event.data == b"[DONE]":
                    finished = True
                    break
                if event.data:
                    yield from self._of(json.loads(event.data))
        if not finished:
            raise RunnerdError(_BROKEN)

    def _of(self, event: dict[str, Any]) -> Iterator[Piece]:
        if "error" in event:
            raise RunnerdError(str(event["error"].get("message", _BROKEN)))
        self.timings = event.get("timings") or self.timings
        self.usage = event.get("usage") or self.usage
        for choice in event.get("choices", []):
            delta = choice.get("delta", {})
            if reasoning := delta.get("reasoning_content"):
                yield Piece(reasoning, reasoning=True)
            if content := delta.get("content"):
                yield Piece(content)


def _events(response: http.client.HTTPResponse) -> Iterator[sse.Event]:
    splitter = sse.EventSplitter()
    while data := response.read1():
        yield from map(sse.parse, splitter.feed(data))
