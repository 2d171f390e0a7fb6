"""Puts a streamed response together for a client that asked for a whole one.

The engine notices a vanished client within one token only while it streams (a request without
`stream` runs on as long as other requests keep the engine busy), so the relay always asks for a
stream.  What comes back is merged as it arrives: text is concatenated, tool calls by index, token
counts are added up, and of everything else the last value counts.  Events that differ in their text
alone (`repeated_events`) are read once.
"""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

import msgspec

from runnerd.relay.events import StreamError, broken_off, document_of, unknown_shape
from runnerd.relay.response_adapters.repeated_events import RepeatedEvent
from runnerd.sse import EventSplitter

MOST_BYTES = 256 * 2**20
"""Of an engine's response that is kept until its end: half a million tokens."""

MOST_ENTRIES = 2**14
"""So many responses, or calls in one, are put together: each takes more memory than bytes."""


class Assembly:
    """Merges the chunks of `chat/completions` or `completions` into one response.

    `prompts` is how many prompts were asked at once; the engine numbers their responses through.
    `model` is what the client calls the model; the engine knows it by its first client's word.
    """

    def __init__(self, prompts: int = 1, model: str = "") -> None:
        self._prompts = prompts
        self._bytes = 0
        self._model = model
        self._usages: list[dict[str, Any]] = []
        self._splitter = EventSplitter()
        self._repeated = RepeatedEvent()
        self._document: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self._texts: dict[int, dict[str, list[str]]] = {}

    def feed(self, data: bytes) -> None:
        """Take a piece of the event stream.  Raises StreamError."""
        self._bytes += len(data)
        check_bytes(self._bytes)
        texts = self._splitter.feed(data)
        at, end = 0, len(texts)
        while at < end:
            text = texts[at]
            at += 1
            if not self._repeated.takes(text):
                event = document_of(text)
                if event is None:
                    continue
                self.take(event)
                self._repeated.learn(text, event, self._texts)
            at = self._repeated.take_run(texts, at)

    def result(self) -> bytes:
        """Return the whole response as JSON.  Raises StreamError where there is none."""
        self.check_begun()
        return msgspec.json.encode(self.document())

    def check_begun(self) -> None:
        """Raise StreamError for an engine that sent no part of a response, or no stream at all."""
        if not self._choices:
            raise broken_off()

    def document(self) -> dict[str, Any]:
        """Return the whole response."""
        document = self._document
        if self._model:
            document["model"] = self._model
        chat = document.get("object") == "chat.completion.chunk"
        if chat:
            document["object"] = "chat.completion"
        document["choices"] = [self._choice(index, chat=chat) for index in sorted(self._choices)]
        if len(self._usages) > 1:
            document["usage"] = _sum(self._usages, self._prompts)
        return document

    def take(self, event: dict[str, Any]) -> None:
        """Take a chunk.  Raises StreamError."""
        try:
            for choice in event.get("choices", ()):
                self._merge(choice)
        except (AttributeError, TypeError) as error:
            raise unknown_shape() from error
        usage = event.get("usage")
        if isinstance(usage, dict):
            self._usages.append(usage)
        document = self._document
        created = document.get("created")
        document.update(event)
        if created is not None:
            document["created"] = created

    def _merge(self, choice: dict[str, Any]) -> None:
        index = choice.get("index", 0)
        merged = self._choices.get(index)
        if merged is None:
            merged = self._choices[index] = {"index": index}
            self._texts[index] = {}
            check_entries(self._choices)
        texts = self._texts[index]
        for name, value in choice.items():
            if name == "delta":
                _merge_delta(merged.setdefault("delta", {}), texts, value)
            elif name == "text":
                texts.setdefault("text", []).append(value)
            elif name == "logprobs":
                _merge_logprobs(merged, value)
            elif name != "finish_reason" or value is not None:
                merged[name] = value

    def _choice(self, index: int, *, chat: bool) -> dict[str, Any]:
        choice = self._choices[index]
        texts = {name: "".join(parts) for name, parts in self._texts[index].items()}
        choice.setdefault("finish_reason", None)
        if not chat:
            return {"text": texts.get("text", ""), **choice, "logprobs": choice.get("logprobs")}
        delta = choice.pop("delta", {})
        calls = delta.pop("tool_calls", None)
        message = {"role": "assistant", "content": None if calls else "", **delta, **texts}
        if calls:
            message["tool_calls"] = [_call(calls[position]) for position in sorted(calls)]
            message["content"] = texts.get("content") or None
        return {**choice, "message": message}


def _sum(usages: list[dict[str, Any]], prompts: int) -> dict[str, Any]:
    """The usage of several responses together: a prompt counts once, however often answered."""
    repeats = max(1, len(usages) // prompts)
    prompt = sum(usage.get("prompt_tokens", 0) for usage in usages) // repeats
    generated = sum(usage.get("completion_tokens", 0) for usage in usages)
    return {
        **usages[-1],
        "prompt_tokens": prompt,
        "completion_tokens": generated,
        "total_tokens": prompt + generated,
    }


def _merge_delta(
    merged: dict[str, Any], texts: dict[str, list[str]], delta: dict[str, Any]
) -> None:
    for name, value in delta.items():
        if name == "tool_calls":
            calls = merged.setdefault("tool_calls", {})
            for position, call in enumerate(value):
                _merge_call(calls.setdefault(call.get("index", position), {}), call)
                check_entries(calls)
        elif name in ("content", "reasoning_content"):
            if value is not None:
                texts.setdefault(name, []).append(value)
        else:
            merged[name] = value


def _merge_call(merged: dict[str, Any], call: dict[str, Any]) -> None:
    for name, value in call.items():
        if name == "function":
            function = merged.setdefault("function", {})
            for field, text in value.items():
                if field == "arguments":  # pieces: a text would be copied for each
                    function.setdefault(field, []).append(text)
                else:
                    function[field] = text
        elif name != "index":
            merged[name] = value


def _call(merged: dict[str, Any]) -> dict[str, Any]:
    """A call as it is told, its arguments in one."""
    function = merged.get("function")
    if function is None or "arguments" not in function:
        return merged
    return {**merged, "function": {**function, "arguments": "".join(function["arguments"])}}


def check_bytes(held: int) -> None:
    """Raise StreamError where so many bytes of a response are more than are kept."""
    if held > MOST_BYTES:
        raise StreamError({"message": f"the response is larger than {MOST_BYTES} bytes"})


def check_entries(entries: Sized) -> None:
    """Raise StreamError where a response has more parts than any honest one."""
    if len(entries) > MOST_ENTRIES:
        raise StreamError({"message": f"the response has more than {MOST_ENTRIES} parts"})


def _merge_logprobs(merged: dict[str, Any], value: Any) -> None:
    """Concatenate the lists inside logprobs (chat: `content`; completions: several)."""
    if not isinstance(value, dict):
        return
    logprobs = merged.setdefault("logprobs", {})
    for name, entries in value.items():
        if isinstance(entries, list) and isinstance(logprobs.get(name), list):
            logprobs[name].extend(entries)
        else:
            logprobs[name] = entries
