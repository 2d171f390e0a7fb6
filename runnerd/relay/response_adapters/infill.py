"""A text completion with a `suffix`: what lies between the two is asked for.

llama-server ignores `suffix` there.  It fills in on a route of its own, in its own terms and shape,
which are put into OpenAI's here.
"""

from __future__ import annotations

import time
import uuid
from typing import Any, NamedTuple

import msgspec

from runnerd.errors import ClientError
from runnerd.relay.body import ABSENT, Inference
from runnerd.relay.dialect import Translation
from runnerd.relay.events import DONE, EVENT_STREAM, Events, broken_off, written
from runnerd.relay.parsed_request import ParsedRequest, parse
from runnerd.relay.response_adapters.assembly import Assembly

_NONE = (*ABSENT, msgspec.Raw(b'""'))
_UNTOLD = ("echo", "logprobs")  # with a suffix


class Infill(NamedTuple):
    """What is asked of the engine, and what becomes of its response."""

    request: ParsedRequest
    translation: Translation


def fills_in(fields: Inference) -> bool:
    """Whether a text completion has a suffix."""
    return fields.suffix not in _NONE


def infill_wanted(request: ParsedRequest) -> Infill | None:
    """How a text completion fills in, None where it has no suffix.

    Raises errors.ClientError where it asks for what that does not go with.
    """
    fields = request.fields
    if not fills_in(fields):
        return None
    document = dict(request.document)
    prompt, suffix = document.pop("prompt", ""), document.pop("suffix")
    if not (isinstance(prompt, str) and isinstance(suffix, str)):
        raise ClientError("with a suffix the prompt must be one text", param="suffix")
    for name in _UNTOLD:
        value = document.pop(name, None)
        if value is not None and value is not False:
            raise ClientError(f"{name} does not go with a suffix", param=name)
    if isinstance(document.get("stop"), str):
        document["stop"] = [document["stop"]]
    options = document.pop("stream_options", None)
    counts = isinstance(options, dict) and options.get("include_usage") is True
    asked = {**document, "input_prefix": prompt, "input_suffix": suffix, "stream": True}
    events = _InfillEvents(fields.model, fields.answers())
    translation: Translation = (
        InfilledStream(events, counts=counts)
        if fields.stream
        else InfilledResponse(events, fields.model)
    )
    return Infill(parse(msgspec.json.encode(asked)), translation)


def native_choices(event: dict[str, Any]) -> list[dict[str, Any]]:
    """Return an event of the engine's own API as the choices of OpenAI's text completions."""
    if "content" not in event:
        return []
    reason = None
    if event.get("stop"):
        reason = "length" if event.get("stop_type") == "limit" else "stop"
    index = event.get("index", 0)
    choice = {"text": event["content"], "index": index, "logprobs": None, "finish_reason": reason}
    return [choice]


class _InfillEvents:
    """Turns the engine's own events into OpenAI's, and adds up what they tell of tokens."""

    def __init__(self, model: str, responses: int) -> None:
        self._events = Events()
        self._common = {
            "id": f"cmpl-{uuid.uuid4().hex}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": model,
        }
        self._unended = responses
        self._prompt = self._generated = 0

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Return the chunks that a piece of the stream makes.  Raises StreamError."""
        return [
            {**self._common, "choices": choices, **self._account(event)}
            for event in self._events.feed(data)
            if (choices := native_choices(event))
        ]

    def usage(self) -> dict[str, Any]:
        """Return the chunk that comes last, without choices.  Raises StreamError."""
        if self._unended > 0:
            raise broken_off()
        usage = {
            "prompt_tokens": self._prompt,
            "completion_tokens": self._generated,
            "total_tokens": self._prompt + self._generated,
        }
        return {**self._common, "choices": [], "usage": usage}

    def _account(self, event: dict[str, Any]) -> dict[str, Any]:
        if not event.get("stop"):
            return {}
        self._unended -= 1
        self._prompt = event.get("tokens_evaluated", 0)
        self._generated += event.get("tokens_predicted", 0)
        return {"timings": event["timings"]} if "timings" in event else {}


class InfilledStream:
    """The chunks of OpenAI's text completions; with `counts` the last one tells the tokens."""

    content_type = EVENT_STREAM
    streams = True

    def __init__(self, events: _InfillEvents, *, counts: bool) -> None:
        self._events = events
        self._counts = counts

    def feed(self, data: bytes) -> bytes:
        """Return the chunks that a piece of the engine's stream makes.  Raises StreamError."""
        return b"".join(map(written, self._events.feed(data)))

    def end(self) -> bytes:
        """What a stream ends with.  Raises StreamError."""
        last = written(self._events.usage())
        return last + DONE if self._counts else DONE


class InfilledResponse:
    """OpenAI's text completion as a whole."""

    content_type = b"application/json"
    streams = False

    def __init__(self, events: _InfillEvents, model: str) -> None:
        self._events = events
        self._assembly = Assembly(1, model)

    def feed(self, data: bytes) -> bytes:
        """Take a piece of the engine's stream.  Raises StreamError."""
        for chunk in self._events.feed(data):
            self._assembly.take(chunk)
        return b""

    def end(self) -> bytes:
        """Return the response.  Raises StreamError."""
        self._assembly.take(self._events.usage())
        return self._assembly.result()
