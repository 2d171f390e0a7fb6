"""Ollama's inference routes as dialects of the relay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from runnerd.api.ollama.answers import EmbeddingAnswer, TextAnswer, line, now
from runnerd.api.ollama.requests import Fields, engine_message, with_images
from runnerd.errors import ClientError
from runnerd.relay.body import Body
from runnerd.relay.dialect import Wish
from runnerd.relay.routes import OPERATIONS, Route

ORIGIN = "ollama/completion"


@dataclass(frozen=True, slots=True)
class OllamaDialect:
    """One of Ollama's routes: `read` turns its requests into wishes."""

    reader: Callable[[Fields], Wish]
    origin: str = ORIGIN

    def read(self, body: Body) -> Wish:
        """Return what a request asks for.  Raises errors.ClientError."""
        if not body:
            raise ClientError("missing request body")
        return self.reader(Fields(body))

    def error(self, message: str, status: int) -> bytes:
        """Return an error's body: an object, because clients look into it."""
        return line({"error": message})

    def broken(self, message: str) -> bytes:
        """Return the line that ends a stream with an error."""
        return self.error(message, 200)


def routes() -> dict[str, Route]:
    """Return the routes by their paths."""
    chat, embeddings = OPERATIONS["chat/completions"], OPERATIONS["embeddings"]
    return {
        "/api/chat": Route(chat, dialect=OllamaDialect(_chat)),
        "/api/generate": Route(chat, dialect=OllamaDialect(_generate)),
        "/api/embed": Route(embeddings, dialect=OllamaDialect(_embed)),
        "/api/embeddings": Route(embeddings, dialect=OllamaDialect(_embeddings)),
    }


def _chat(fields: Fields) -> Wish:
    messages = [engine_message(message) for message in fields.items("messages")]
    answer = TextAnswer(fields.model, streams=fields.flag("stream", default=True), chat=True)
    request: dict[str, Any] = {"messages": messages}
    if tools := fields.items("tools"):
        request["tools"] = tools
    document = {"message": {"role": "assistant", "content": ""}}
    return _wish(fields, "chat/completions", request, answer, idle=not messages, document=document)


def _generate(fields: Fields) -> Wish:
    prompt, suffix = fields.text("prompt"), fields.text("suffix")
    system, images = fields.text("system"), fields.items("images")
    raw = fields.flag("raw", default=False)
    if raw and (system or fields.text("template") or fields.raw("context")):
        raise ClientError("raw mode does not support template, system, or context")
    if fields.text("template"):
        raise ClientError("template is not supported per request; import the model with it")
    if suffix:
        raise ClientError("suffix is not supported here; use /infill", param="suffix")
    answer = TextAnswer(fields.model, streams=fields.flag("stream", default=True), chat=False)
    if raw:
        operation = "completions"
        request: dict[str, Any] = {"prompt": prompt}
    else:
        operation = "chat/completions"
        content = with_images(prompt, images) if images else prompt
        first = [{"role": "system", "content": system}] if system else []
        request = {"messages": [*first, {"role": "user", "content": content}]}
    idle = not (prompt or images)
    return _wish(fields, operation, request, answer, idle=idle, document={"response": ""})


def _wish(
    fields: Fields,
    operation: str,
    request: dict[str, Any],
    answer: TextAnswer,
    *,
    idle: bool,
    document: dict[str, Any],
) -> Wish:
    """Return the wish for a text; `idle` requests say nothing and only load or unload."""
    request |= {"model": fields.model, "stream": True, **fields.sampling(), **fields.thinking()}
    if (wanted := fields.response_format()) is not None:
        request["response_format"] = wanted
    keep_alive = fields.keep_alive
    instead = None
    if idle:
        reason = "unload" if keep_alive == 0 else "load"
        head = {"model": fields.model, "created_at": now()}
        instead = line({**head, **document, "done": True, "done_reason": reason})
    return Wish(
        operation,
        msgspec.json.encode(request),
        answer,
        keep_alive=keep_alive,
        instead=instead,
        unloads=idle and keep_alive == 0,
    )


def _embed(fields: Fields) -> Wish:
    inputs = fields.raw("input")
    texts = [inputs] if isinstance(inputs, str) else inputs or []
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ClientError("input must be a string or an array of strings", param="input")
    return _vectors(fields, texts, single=False)


def _embeddings(fields: Fields) -> Wish:
    prompt = fields.text("prompt")
    return _vectors(fields, [prompt] if prompt else [], single=True)


def _vectors(fields: Fields, texts: list[str], *, single: bool) -> Wish:
    dimensions = fields.raw("dimensions")
    if dimensions is not None and not (type(dimensions) is int and dimensions > 0):
        raise ClientError("dimensions must be a positive number", param="dimensions")
    empty = line({"embedding": []} if single else {"model": fields.model, "embeddings": []})
    return Wish(
        "embeddings",
        msgspec.json.encode({"model": fields.model, "input": texts}),
        EmbeddingAnswer(fields.model, dimensions=dimensions, single=single),
        keep_alive=fields.keep_alive,
        instead=None if texts else empty,
    )
