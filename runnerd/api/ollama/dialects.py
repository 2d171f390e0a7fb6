"""Ollama's inference routes as dialects of the relay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from runnerd.api.ollama.answers import EmbeddingAnswer, TextAnswer, line
from runnerd.api.ollama.context_codec import Turn, recall
from runnerd.api.ollama.names import Models
from runnerd.api.ollama.options import read_options
from runnerd.api.ollama.requests import Fields, engine_messages, unsupported, with_images
from runnerd.api.ollama.truncation import FewerMessages, ShorterTexts
from runnerd.backends.model_files import ModelFacts
from runnerd.errors import ClientError
from runnerd.models.catalog import Model
from runnerd.models.description import Description
from runnerd.models.digest import Digest
from runnerd.models.gotemplates.rendering import render
from runnerd.models.gotemplates.syntax import TemplateError
from runnerd.models.manifest import Layer, Manifest
from runnerd.relay.body import Body
from runnerd.relay.dialect import Retry, TranslatedRequest
from runnerd.relay.routes import OPERATIONS, Route

ORIGIN = "ollama/completion"


@dataclass(frozen=True, slots=True)
class OllamaDialect:
    """One of Ollama's routes: `reader` turns its requests into wishes."""

    reader: Callable[[Fields, Model], TranslatedRequest]
    models: Models
    origin: str = ORIGIN
    shapes_errors: bool = True
    id_header: bytes | None = None

    def read(self, body: Body) -> TranslatedRequest:
        """Return what a request asks for.  Raises errors.ClientError."""
        fields = _fields(body)
        return self.reader(fields, self.models.get(fields.model))

    def read_unseen(self, body: Body) -> TranslatedRequest:
        """Return what it asks of a model that might be able to do everything."""
        return self.reader(_fields(body), _UNSEEN)

    def error(self, message: str, status: int) -> bytes:
        """Return an error's body: an object, because clients look into it."""
        return line({"error": message})

    def broken(self, message: str) -> bytes:
        """Return the line that ends a stream with an error."""
        return self.error(message, 200)


def _fields(body: Body) -> Fields:
    if not body:
        raise ClientError("missing request body")
    return Fields(body)


_UNSEEN_ID = Digest.of(b"")
_UNSEEN = Model(
    id=_UNSEEN_ID,
    tags=(),
    created=0,
    description=Description(
        architecture="",
        parameters="",
        quantization="",
        size="",
        capabilities=("completion", "embedding", "tools", "thinking", "insert", "vision", "audio"),
        facts=ModelFacts(),
    ),
    manifest=Manifest(b"", Layer("", 0, _UNSEEN_ID), ()),
)


def routes(models: Models) -> dict[str, Route]:
    """Return the routes by their paths."""
    chat, embeddings = OPERATIONS["chat/completions"], OPERATIONS["embeddings"]
    return {
        "/api/chat": Route(chat, dialect=OllamaDialect(_chat, models)),
        "/api/generate": Route(chat, dialect=OllamaDialect(_generate, models)),
        "/api/embed": Route(embeddings, dialect=OllamaDialect(_embed, models)),
        "/api/embeddings": Route(embeddings, dialect=OllamaDialect(_embeddings, models)),
    }


# texts


def _chat(fields: Fields, model: Model) -> TranslatedRequest:
    asked = fields.items("messages")
    messages, made = engine_messages(asked), model.description.modelfile
    if any(message.get("images") for message in asked):
        _require(fields, model, "vision")
    request: dict[str, Any] = {"messages": messages}
    if messages:
        request["messages"] = _preceding(model) + messages
        if made.system and messages[0]["role"] != "system":
            request["messages"].insert(0, _message("system", made.system))
    if tools := fields.items("tools"):
        _require(fields, model, "tools")
        request["tools"] = [_tool(tool) for tool in tools]
    answer = _answer(fields, chat=True)
    return _wish(fields, model, "chat/completions", request, answer)


def _generate(fields: Fields, model: Model) -> TranslatedRequest:
    prompt, suffix, images = fields.text("prompt"), fields.text("suffix"), fields.items("images")
    system, context = fields.text("system"), fields.items("context")
    raw = fields.flag("raw", default=False)
    if raw and (system or fields.text("template") or context):
        raise ClientError("raw mode does not support template, system, or context")
    if images:
        _require(fields, model, "vision")
    if not (prompt or images or suffix):
        request: dict[str, Any] = {"messages": []}
        return _wish(fields, model, "chat/completions", request, _answer(fields, chat=False))
    if suffix:
        request = {"input_prefix": prompt, "input_suffix": suffix}
        return _wish(fields, model, "infill", request, _answer(fields, chat=False))
    if raw:
        return _wish(fields, model, "completions", {"prompt": prompt}, _answer(fields, chat=False))
    turns = recall(context)
    system = system or model.description.modelfile.system
    messages = [_message("system", system)] if system else []
    messages += [_message(*turn) for turn in turns] if turns else _preceding(model)
    content = with_images(prompt, images) if images else prompt
    messages.append({"role": "user", "content": content})
    if template := fields.text("template"):
        request = {"prompt": _rendered(template, messages, images)}
        return _wish(fields, model, "completions", request, _answer(fields, chat=False))
    answer = _answer(fields, chat=False, turns=[*turns, ("user", prompt)])
    return _wish(fields, model, "chat/completions", {"messages": messages}, answer)


def _rendered(template: str, messages: list[dict[str, Any]], images: list[Any]) -> str:
    """Return the prompt that a request's own template makes."""
    if images:
        raise ClientError("a template of its own cannot place images", param="template")
    said = {message["role"]: message["content"] for message in messages}
    values = {
        "System": said.get("system", ""),
        "Prompt": said["user"],
        "Messages": [{"Role": m["role"], "Content": m["content"]} for m in messages],
        **{"Response": "", "Suffix": "", "Tools": None, "Think": False, "ThinkLevel": ""},
    }
    try:
        return render(template, values)
    except TemplateError as error:
        raise ClientError(f"the template cannot be used: {error}", param="template") from error


def _answer(fields: Fields, *, chat: bool, turns: list[Turn] | None = None) -> TextAnswer:
    return TextAnswer(
        fields.model,
        streams=fields.flag("stream", default=True),
        chat=chat,
        turns=turns,
        top_logprobs=fields.top_logprobs,
    )


def _tool(tool: object) -> object:
    """Return a tool with its type, which clients may leave out: there is only one."""
    return {"type": "function", **tool} if isinstance(tool, dict) else tool


def _message(role: str, content: str) -> dict[str, Any]:
    return {"role": role, "content": content}


def _preceding(model: Model) -> list[dict[str, Any]]:
    """Return the messages that every conversation with the model begins with."""
    return [_message(said.role, said.content) for said in model.description.modelfile.messages]


def _require(fields: Fields, model: Model, capability: str) -> None:
    """Refuse what a chat model cannot do; what others cannot the planner says."""
    if "completion" in model.capabilities and capability not in model.capabilities:
        raise unsupported(fields.model, capability)


def _wish(
    fields: Fields, model: Model, operation: str, request: dict[str, Any], answer: TextAnswer
) -> TranslatedRequest:
    """Return the wish for a text; a request that says nothing only loads or unloads."""
    options = read_options(fields.options, model)
    warnings = options.warnings
    if fields.flag("shift", default=False):
        warnings += ("ignored: shift; an answer ends where the context does",)
    request |= {"model": fields.model, "stream": True, **options.sampling}
    chat, thinking = operation == "chat/completions", "thinking" in model.capabilities
    request |= fields.format(chat=chat) | fields.logprobs(chat=chat)
    request |= fields.thinking(able=thinking)
    keep_alive, idle = fields.keep_alive, request.get("messages") == []
    return TranslatedRequest(
        operation,
        msgspec.json.encode(request),
        answer,
        keep_alive=keep_alive,
        immediate=answer.nothing("unload" if keep_alive == 0 else "load") if idle else None,
        unloads=idle and keep_alive == 0,
        warnings=warnings,
        defaults=options.defaults,
        context=options.context,
        retry_with=_shortening(fields, request),
        has_prefix=True,
    )


def _shortening(fields: Fields, request: dict[str, Any]) -> Retry | None:
    if not fields.flag("truncate", default=True):
        return None
    if "input" in request:
        return ShorterTexts(request)
    return FewerMessages(request) if "messages" in request else None


# vectors


def _embed(fields: Fields, model: Model) -> TranslatedRequest:
    inputs = fields.raw("input")
    texts = [inputs] if isinstance(inputs, str) else inputs or []
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ClientError("input must be a string or an array of strings", param="input")
    return _vectors(fields, model, texts, single=False)


def _embeddings(fields: Fields, model: Model) -> TranslatedRequest:
    prompt = fields.text("prompt")
    return _vectors(fields, model, [prompt] if prompt else [], single=True)


def _vectors(fields: Fields, model: Model, texts: list[str], *, single: bool) -> TranslatedRequest:
    options = read_options(fields.options, model)
    dimensions = fields.raw("dimensions")
    if dimensions is not None and not (type(dimensions) is int and dimensions > 0):
        raise ClientError("dimensions must be a positive number", param="dimensions")
    request = {"model": fields.model, "input": texts}
    empty = line({"embedding": []} if single else {"model": fields.model, "embeddings": []})
    return TranslatedRequest(
        "embeddings",
        msgspec.json.encode(request),
        EmbeddingAnswer(fields.model, dimensions=dimensions, single=single),
        keep_alive=fields.keep_alive,
        immediate=None if texts else empty,
        warnings=options.warnings,
        context=options.context,
        retry_with=_shortening(fields, request),
    )
