"""The engine's responses in Ollama's lines, as they come.

Every line is ASCII: the Python client also breaks lines at U+0085 and U+2028, which JSON allows
inside a string.  Counts and durations (integer nanoseconds) are the engine's own `timings`.
"""

from __future__ import annotations

import datetime
import json
import math
import time
from collections.abc import Callable
from typing import Any

from runnerd.api.ollama.context_codec import Turn, remember
from runnerd.relay.events import Events, UnwantedResponse, broken_off, whole_document
from runnerd.relay.response_adapters.assembly import check_bytes, check_entries
from runnerd.relay.response_adapters.infill import native_choices
from runnerd.relay.response_adapters.logprobs import shown_text

NDJSON = b"application/x-ndjson"
JSON = b"application/json; charset=utf-8"
_TOLD = ("logprob", "bytes")  # of a token, beside its text


def line(document: dict[str, Any]) -> bytes:
    """Return a document as one line of ASCII."""
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def now() -> str:
    """Return the present time as Ollama writes it."""
    moment = datetime.datetime.now(datetime.UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


class TextResponse:
    """A response of /api/chat or /api/generate: from the engine's events to lines, or to one.

    `turns` is the conversation so far, where the end of the response is to hold it; of each token
    `top_logprobs` alternatives are told where the engine tells any.
    """

    def __init__(
        self,
        model: str,
        *,
        streams: bool,
        chat: bool,
        turns: list[Turn] | None = None,
        top_logprobs: int = 0,
    ) -> None:
        self.streams = streams
        self.content_type = NDJSON if streams else JSON
        self._model = model
        self._chat = chat
        self._turns = turns
        self._top_logprobs = top_logprobs
        self._logprobs: list[dict[str, Any]] = []
        self._began = time.monotonic()
        self._events = Events()
        self._texts: dict[str, list[str]] = {"content": [], "thinking": []}
        self._kept = 0  # characters
        self._calls: dict[int, dict[str, Any]] = {}
        self._reason = "stop"
        self._timings: dict[str, Any] = {}
        self._ended = False

    def nothing(self, reason: str) -> bytes:
        """Return the response to who wanted no text, but `reason`."""
        return line({**self._part("", ""), "done": True, "done_reason": reason})

    def feed(self, data: bytes) -> bytes:
        """Return the lines that a piece of the engine's stream makes."""
        return b"".join(self._lines(event) for event in self._events.feed(data))

    def end(self) -> bytes:
        """Return the last line, or the whole response."""
        if not self._ended:
            raise broken_off()
        document = self._part("", "") if self.streams else self._whole()
        document |= {"done": True, "done_reason": self._reason}
        if self._turns is not None:
            reply = "".join(self._texts["content"])
            document["context"] = remember([*self._turns, ("assistant", reply)])
        return line({**document, **self._account()})

    def _lines(self, event: dict[str, Any]) -> bytes:
        lines: list[bytes] = []
        self._timings = event.get("timings") or self._timings
        for choice in event.get("choices") or native_choices(event):
            delta = choice.get("delta") or {"content": choice.get("text")}
            for call in delta.get("tool_calls") or []:
                self._add_call(call)
            piece = self._piece(
                delta.get("content") or "",
                delta.get("reasoning_content") or "",
                _logprobs(choice, self._top_logprobs),
            )
            lines.append(piece)
            if reason := choice.get("finish_reason"):
                self._ended = True
                self._reason = "length" if reason == "length" else "stop"
                lines.append(self._call_line())
        return b"".join(lines)

    def _piece(self, content: str, thinking: str, logprobs: list[dict[str, Any]]) -> bytes:
        """Take a piece of the response; return its line, where there are lines."""
        if content and (self._turns is not None or not self.streams):
            self._texts["content"].append(content)
            self._kept += len(content)
            check_bytes(self._kept)
        if not self.streams:
            self._texts["thinking"].append(thinking)
            self._logprobs += logprobs
            return b""
        if not (content or thinking or logprobs):
            return b""
        document = self._part(content, thinking)
        if logprobs:
            document["logprobs"] = logprobs
        return line({**document, "done": False})

    def _add_call(self, call: dict[str, Any]) -> None:
        merged = self._calls.setdefault(call.get("index", 0), {"id": "", "names": [], "pieces": []})
        check_entries(self._calls)
        function = call.get("function") or {}
        merged["id"] = call.get("id") or merged["id"]
        merged["names"].append(function.get("name") or "")
        merged["pieces"].append(function.get("arguments") or "")

    def _call_line(self) -> bytes:
        """Return the line with all tool calls, once they are complete."""
        if not (self._calls and self.streams):
            return b""
        document = self._part("", "")
        document["message"]["tool_calls"] = self._finished_calls()
        return line({**document, "done": False})

    def _finished_calls(self) -> list[dict[str, Any]]:
        return [
            {
                "id": call["id"],
                "function": {
                    "index": index,
                    "name": "".join(call["names"]),
                    "arguments": _arguments("".join(call["pieces"])),
                },
            }
            for index, call in sorted(self._calls.items())
        ]

    def _whole(self) -> dict[str, Any]:
        document = self._part("".join(self._texts["content"]), "".join(self._texts["thinking"]))
        if self._calls and self._chat:
            document["message"]["tool_calls"] = self._finished_calls()
        if self._logprobs:
            document["logprobs"] = self._logprobs
        return document

    def _part(self, content: str, thinking: str) -> dict[str, Any]:
        document: dict[str, Any] = {"model": self._model, "created_at": now()}
        if self._chat:
            message: dict[str, Any] = {"role": "assistant", "content": content}
            document["message"] = message
            if thinking:
                message["thinking"] = thinking
        else:
            document["response"] = content
            if thinking:
                document["thinking"] = thinking
        return document

    def _account(self) -> dict[str, int]:
        timings = self._timings
        total = round((time.monotonic() - self._began) * 1e9)
        prompt, generated = timings.get("prompt_ms", 0), timings.get("predicted_ms", 0)
        return {
            "total_duration": total,
            "load_duration": max(0, total - round((prompt + generated) * 1e6)),
            "prompt_eval_count": timings.get("cache_n", 0) + timings.get("prompt_n", 0),
            "prompt_eval_duration": round(prompt * 1e6),
            "eval_count": timings.get("predicted_n", 0),
            "eval_duration": round(generated * 1e6),
        }


class EmbeddingResponse:
    """A response of /api/embed, or with `single` of the older /api/embeddings.

    `context` is how many tokens of each text count, and `texts` are those that were asked for: how
    long each is in tokens is said by none, so of several it is taken from their lengths.
    """

    streams = False
    content_type = JSON

    def __init__(
        self,
        model: str,
        *,
        dimensions: int | None,
        single: bool,
        context: int | None = None,
        texts: Callable[[], list[str]] = list,
    ) -> None:
        self._model = model
        self._context = context
        self._texts = texts
        self._dimensions = dimensions
        self._single = single
        self._began = time.monotonic()
        self._data = bytearray()

    def feed(self, data: bytes) -> bytes:
        """Collect the engine's response."""
        self._data += data
        return b""

    def end(self) -> bytes:
        """Return the vectors, of length 1."""
        document = whole_document(bytes(self._data))
        self._data = bytearray()
        self._check_length(document.get("usage", {}).get("prompt_tokens", 0))
        rows = sorted(document["data"], key=lambda row: row["index"])
        vectors = [_unit(row["embedding"][: self._dimensions]) for row in rows]
        if self._single:
            return line({"embedding": vectors[0] if vectors else []})
        return line(
            {
                "model": self._model,
                "embeddings": vectors,
                "total_duration": round((time.monotonic() - self._began) * 1e9),
                "load_duration": 0,  # no engine tells; there are clients that demand the member
                "prompt_eval_count": document.get("usage", {}).get("prompt_tokens", 0),
            }
        )

    def _check_length(self, tokens: int) -> None:
        """Raise UnwantedResponse where a text has more tokens than the client's context."""
        if self._context is None:
            return
        sizes = [len(text) for text in self._texts()]
        longest = math.ceil(tokens * max(sizes) / max(1, sum(sizes)))
        if longest > self._context:
            said = f"input ({longest} tokens) is larger than num_ctx ({self._context})"
            raise UnwantedResponse({"message": said, "code": 400})


def _logprobs(choice: dict[str, Any], top: int) -> list[dict[str, Any]]:
    """Return the probabilities of a piece's tokens, with `top` alternatives to each."""
    found = (choice.get("logprobs") or {}).get("content") or []
    return [
        {**_logprob(token), "top_logprobs": [_logprob(t) for t in token["top_logprobs"][:top]]}
        if top
        else _logprob(token)
        for token in found
    ]


def _logprob(token: dict[str, Any]) -> dict[str, Any]:
    told = {name: token[name] for name in _TOLD if name in token}
    return {"token": shown_text(token)} | told


def _arguments(text: str) -> dict[str, Any]:
    """Return a call's arguments as the object that Ollama's clients demand."""
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {"arguments": text}


def _unit(vector: list[float]) -> list[float]:
    length = math.sqrt(sum(value * value for value in vector))
    return [value / length for value in vector] if length else vector
