"""A session's next prompt as a request to the relay, and its response as pieces of text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from runnerd.errors import BackendFailure, ClientError
from runnerd.sessions.session import Parameters, Prompt, Session, SessionKind, Turn
from runnerd.sse import EventSplitter, parse

_OURS = frozenset({
    "model", "messages", "prompt", "suffix", "stream", "stream_options", "n", "best_of", "echo",
    "tools", "tool_choice", "functions", "function_call", "logprobs", "top_logprobs", "id_slot",
    "cache_prompt",
})  # fmt: skip
_PATHS = {SessionKind.CHAT: "/v1/chat/completions", SessionKind.TEXT: "/v1/completions"}
_MOST_BYTES = 2**16


class Request(NamedTuple):
    """What the relay is asked."""

    path: str
    body: bytes


def check_parameters(parameters: Parameters) -> None:
    """Refuse parameters that are the session's own affair.  What else they say is judged with the
    prompt.  Raises errors.ClientError.
    """
    if (taken := sorted(_OURS & parameters.keys())) != []:
        raise ClientError(
            f"parameters: a session says {taken[0]} itself, or cannot use it", param="parameters"
        )
    if len(msgspec.json.encode(dict(parameters))) > _MOST_BYTES:
        raise ClientError(f"parameters: more than {_MOST_BYTES} bytes", param="parameters")


def request_for(session: Session, turns: Iterable[Turn], prompt: Prompt) -> Request:
    """What is asked next in a session: everything that was said, and the prompt behind it.

    Raises errors.ClientError for images and sounds in a text.
    """
    said = {**session.parameters, **prompt.parameters}
    body: dict[str, Any] = {**said, "model": session.model, "stream": True}
    body["stream_options"] = {"include_usage": True}
    if session.kind is SessionKind.CHAT:
        asked = {"role": "user", "content": _content(prompt.text, prompt.parts)}
        body["messages"] = [*_messages(session, turns), asked]
    elif prompt.parts:
        raise ClientError("prompt: only a session of the kind chat has parts", param="prompt")
    else:
        before = "".join(turn.prompt + turn.response for turn in turns)
        body["prompt"] = session.system + before + prompt.text
    return Request(_PATHS[session.kind], msgspec.json.encode(body))


def _messages(session: Session, turns: Iterable[Turn]) -> Iterator[dict[str, Any]]:
    if session.system:
        yield {"role": "system", "content": session.system}
    for turn in turns:
        yield {"role": "user", "content": _content(turn.prompt, turn.parts)}
        yield {"role": "assistant", "content": turn.response}


def _content(text: str, parts: str) -> str | msgspec.Raw:
    return msgspec.Raw(parts.encode()) if parts else text


class Delta(NamedTuple):
    """Some more of a response.  `reasoning` is what the model thinks before it answers."""

    text: str
    reasoning: str = ""


@dataclass(slots=True)
class ResponseText:
    """What has come of a response: fed with the bytes of a stream in OpenAI's chunks.

    `ended` once the engine has said why the response ends.
    """

    text: str = ""
    reasoning: str = ""
    finish_reason: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    _splitter: EventSplitter = field(default_factory=EventSplitter)

    @property
    def ended(self) -> bool:
        """Whether the response is complete."""
        return bool(self.finish_reason)

    def feed(self, data: bytes) -> Delta | None:
        """Take a piece of the stream; return what it says, if anything.

        Raises errors.BackendFailure where an error is told in the stream, or no chunk.
        """
        text = reasoning = ""
        for event in self._splitter.feed(data):
            found = parse(event).data
            if found in (b"", b"[DONE]"):
                continue
            for more, thought in self._read(found):
                text += more
                reasoning += thought
        self.text += text
        self.reasoning += reasoning
        return Delta(text, reasoning) if text or reasoning else None

    def _read(self, data: bytes) -> Iterator[tuple[str, str]]:
        try:
            chunk = _decode(data)
        except msgspec.MsgspecError as error:
            raise BackendFailure(f"the engine's response is not understood: {error}") from error
        if chunk.error is not None:
            raise BackendFailure(f"the engine failed: {_message(chunk.error)}")
        if chunk.usage is not None:
            self.prompt_tokens = chunk.usage.prompt_tokens
            self.completion_tokens = chunk.usage.completion_tokens
            self.cached_tokens = chunk.usage.prompt_tokens_details.cached_tokens
        for choice in chunk.choices:
            self.finish_reason = choice.finish_reason or self.finish_reason
            delta = choice.delta
            yield (delta.content or choice.text or "", delta.reasoning_content or "")


def _message(error: Any) -> str:
    said = error.get("message") if isinstance(error, dict) else error
    return str(said)[:300]


class _Said(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Said = msgspec.field(default_factory=_Said)
    text: str | None = None
    finish_reason: str | None = None


class _Details(msgspec.Struct):
    cached_tokens: int = 0


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _Details = msgspec.field(default_factory=_Details)


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode
