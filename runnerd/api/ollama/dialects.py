"""Ollama's inference routes as dialects of the relay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from runnerd.access import Action, Principal
from runnerd.api.ollama.context_codec import Turn, recall
from runnerd.api.ollama.errors import OLLAMA
from runnerd.api.ollama.options import read_options
from runnerd.api.ollama.requests import Fields, engine_messages, with_images
from runnerd.api.ollama.responses import EmbeddingResponse, TextResponse, line
from runnerd.api.ollama.truncation import FewerMessages, ShorterTexts
from runnerd.errors import ClientError
from runnerd.models.gotemplates.rendering import render
from runnerd.models.gotemplates.tree import TemplateError
from runnerd.models.model import Model
from runnerd.relay.body import Body
from runnerd.relay.dialect import Retry, TranslatedRequest
from runnerd.relay.operations import OPERATIONS, Operation
from runnerd.relay.routes import Route

ORIGIN = "ollama/completion"


Translate = Callable[[Fields, Model], TranslatedRequest]


@dataclass(frozen=True, slots=True)
class OllamaRequest:
    """A request that was read; `translate` is what its route makes of it."""

    fields: Fields
    translate: Translate

    @property
    def reference(self) -> str:
        """The model's name, as the client says it."""
        return self.fields.model

    def translated(self, model: Model) -> TranslatedRequest:
        """The request in the engine's terms.  Raises errors.ClientError."""
        return self.translate(self.fields, model)


@dataclass(frozen=True, slots=True)
class OllamaDialect:
    """One of Ollama's routes."""

    translate: Translate
    origin: str = ORIGIN

    def read(self, body: Body, principal: Principal) -> OllamaRequest:
        """Decode a request's body.  Raises errors.ClientError."""
        if not body:
            raise ClientError("missing request body")
        return OllamaRequest(Fields(body), self.translate)


def routes() -> dict[str, Route]:
    """The routes by their paths."""
    chat, embeddings = OPERATIONS["chat/completions"], OPERATIONS["embeddings"]

    def route(operation: Operation, translate: Translate) -> Route:
        dialect = OllamaDialect(translate)
        return Route(
            operation,
            dialect=dialect,
            error_format=OLLAMA,
            untyped=True,
            also=Action.UNLOAD_MODEL,  # a request that says nothing, and to keep it no longer
        )

    return {
        "/api/chat": route(chat, _chat),
        "/api/generate": route(chat, _generate),
        "/api/embed": route(embeddings, _embed),
        "/api/embeddings": route(embeddings, _embeddings),
    }


# texts


def _chat(fields: Fields, model: Model) -> TranslatedRequest:
    asked = fields.items("messages")
    messages, made = engine_messages(asked), model.description.modelfile
    needs: tuple[str, ...] = ()
    if any(message.get("images") for message in asked):
        needs += ("vision",)
    request: dict[str, Any] = {"messages": messages}
    if messages:
        request["messages"] = _preceding(model) + messages
        if made.system and messages[0]["role"] != "system":
            request["messages"].insert(0, _message("system", made.system))
    if tools := fields.items("tools"):
        needs += ("tools",)
        request["tools"] = [_tool(tool) for tool in tools]
    response = _response(fields, chat=True)
    return _text(fields, model, "chat/completions", request, response, needs)


def _generate(fields: Fields, model: Model) -> TranslatedRequest:
    prompt, suffix, images = fields.text("prompt"), fields.text("suffix"), fields.items("images")
    system, context = fields.text("system"), fields.items("context")
    raw = fields.flag("raw", default=False)
    if raw and (system or fields.text("template") or context):
        raise ClientError("raw mode does not support template, system, or context")
    needs = ("vision",) if images else ()
    if not (prompt or images or suffix):
        request: dict[str, Any] = {"messages": []}
        return _text(
            fields, model, "chat/completions", request, _response(fields, chat=False), needs
        )
    if suffix:
        request = {"input_prefix": prompt, "input_suffix": suffix}
        return _text(fields, model, "infill", request, _response(fields, chat=False), needs)
    if raw:
        return _text(
            fields, model, "completions", {"prompt": prompt}, _response(fields, chat=False), needs
        )
    turns = recall(context)
    system = system or model.description.modelfile.system
    messages = [_message("system", system)] if system else []
    messages += [_message(*turn) for turn in turns] if turns else _preceding(model)
    content = with_images(prompt, images) if images else prompt
    messages.append({"role": "user", "content": content})
    if template := fields.text("template"):
        request = {"prompt": _rendered(template, messages, images)}
        return _text(fields, model, "completions", request, _response(fields, chat=False), needs)
    response = _response(fields, chat=False, turns=[*turns, ("user", prompt)])
    return _text(fields, model, "chat/completions", {"messages": messages}, response, needs)


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


def _response(fields: Fields, *, chat: bool, turns: list[Turn] | None = None) -> TextResponse:
    return TextResponse(
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


def _text(
    fields: Fields,
    model: Model,
    operation: str,
    request: dict[str, Any],
    response: TextResponse,
    needs: tuple[str, ...],
) -> TranslatedRequest:
    """A request for a text; one that says nothing only loads or unloads."""
    options = read_options(fields.options, model)
    warnings = options.warnings
    if fields.flag("shift", default=False):
        warnings += ("ignored: shift; a response ends where the context does",)
    request |= {"model": fields.model, "stream": True, **options.sampling}
    chat, thinking = operation == "chat/completions", "thinking" in model.capabilities
    request |= fields.format(chat=chat) | fields.logprobs(chat=chat)
    request |= fields.thinking(able=thinking)
    if fields.wants_thinking:
        needs += ("thinking",)
    keep_alive, idle = fields.keep_alive, request.get("messages") == []
    return TranslatedRequest(
        OPERATIONS[operation],
        msgspec.json.encode(request),
        response,
        needs=needs,
        keep_alive=keep_alive,
        immediate=response.nothing("unload" if keep_alive == 0 else "load") if idle else None,
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
    shorter = _shortening(fields, request)
    asked = shorter.texts if isinstance(shorter, ShorterTexts) else texts.copy
    empty = line({"embedding": []} if single else {"model": fields.model, "embeddings": []})
    return TranslatedRequest(
        OPERATIONS["embeddings"],
        msgspec.json.encode(request),
        EmbeddingResponse(
            fields.model,
            dimensions=dimensions,
            single=single,
            context=options.context,
            texts=asked,
        ),
        keep_alive=fields.keep_alive,
        immediate=None if texts else empty,
        warnings=options.warnings,
        context=options.context,
        retry_with=shorter,
    )
