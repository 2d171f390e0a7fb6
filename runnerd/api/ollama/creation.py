"""Ollama's `POST /api/create`: what it asks for, and its statuses while that is made."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
from aiohttp import web

from runnerd.access import Action
from runnerd.api.context import CONTEXT, Context, json_body, json_response, text_field
from runnerd.api.ollama.errors import FAMILY, OLLAMA
from runnerd.api.ollama.names import model_name
from runnerd.api.ollama.responses import NDJSON, line
from runnerd.api.progress_stream import Tell, stream_work
from runnerd.api.removal import remove_model
from runnerd.api.routing import Routes
from runnerd.api.visible_transfers import asker_of
from runnerd.backends.interface import Quantizing
from runnerd.errors import ClientError, Conflict, ModelNotFound, NotSupported
from runnerd.models.creating import Creation, Quantize, Recipe
from runnerd.models.digest import Digest
from runnerd.models.model import Model
from runnerd.models.modelfile import MOST_MESSAGES, Parameter, Remark, checked_options
from runnerd.models.reference import parse_tag
from runnerd.pulls.asker import Asker

ROUTES = Routes(OLLAMA, family=FAMILY)

_MOST_FILES = 1000


@ROUTES.post("/api/create", Action.CREATE_MODEL)
async def create(request: web.Request) -> web.StreamResponse:
    """Make a model; ends when the client leaves, and leaves nothing then."""
    context = request.app[CONTEXT]
    document = await json_body(request)
    tag = str(parse_tag(model_name(document)))
    recipe, base = _recipe(document), text_field(document, "from")
    if bool(base) == bool(recipe.files):
        raise ClientError("name either a model (`from`) or `files` to create it of")

    async def work(tell: Tell) -> bytes:
        def say(status: str) -> None:
            tell(line({"status": status}))

        whole = recipe
        if base is not None:
            whole = replace(recipe, base=await _base(context, base, asker_of(request), say))
        await _create(context, whole, tag, say)
        return line({"status": "success"})

    if document.get("stream") is False:
        await work(lambda line: None)
        return json_response({"status": "success"})
    return await stream_work(
        request,
        work,
        content_type=NDJSON.decode(),
        failed=lambda error: line({"error": error.message}),
    )


async def _create(context: Context, recipe: Recipe, tag: str, say: Callable[[str], None]) -> None:
    """Make the model, and remove the one that had its name if it has no other."""
    try:
        old = context.store.get(tag)
    except ModelNotFound:
        old = None
    made = await Creation(context.store, recipe, say).run(tag, _quantizer(context))
    if old is not None and old.id != made.id and not context.store.get(str(old.id)).tags:
        with contextlib.suppress(Conflict, ModelNotFound):  # in use: it stays until it is pruned
            await remove_model(context, str(old.id), force=False)


async def _base(context: Context, name: str, asker: Asker, say: Callable[[str], None]) -> Model:
    """Return the model that another one is made of; pull it where it is not here."""
    try:
        return context.store.get(name)
    except ModelNotFound:
        # What is made of it is loaded in its own way, so nothing comes along that drafts for it.
        subscription = context.pulls.pull(name, drafts=False, asker=asker)
    say("pulling manifest")
    async for progress in subscription:
        if progress.layer_size and progress.layer_current == progress.layer_size:
            say(f"pulling {progress.layer.removeprefix('sha256:')[:12]}")
    return subscription.model


def _quantizer(context: Context) -> Quantize:
    async def missing(*_: Any) -> None:
        raise NotSupported("no engine here quantizes; do it before the file is sent")

    backend = context.backends.get(context.settings.default_backend)
    return backend.quantize if isinstance(backend, Quantizing) else missing


# what is asked for


def _recipe(document: dict[str, Any]) -> Recipe:
    """Return the request's recipe, all of it but the base.  Raises errors.ClientError."""
    if document.get("modelfile"):
        raise ClientError(
            "modelfile is no longer sent as text: send its parts (from, parameters, system, ...),"
            " as newer clients do",
            param="modelfile",
        )
    return Recipe(
        files=_digests(document, "files"),
        adapters=_digests(document, "adapters"),
        template=text_field(document, "template") or "",
        system=text_field(document, "system") or "",
        licenses=_licenses(document.get("license")),
        parameters=_parameters(document),
        messages=_messages(document),
        quantization=text_field(document, "quantize") or text_field(document, "quantization") or "",
    )


def _digests(document: dict[str, Any], name: str) -> dict[str, Digest]:
    found = document.get(name) or {}
    if not isinstance(found, dict) or len(found) > _MOST_FILES:
        raise ClientError(f"{name} must be an object of names and digests", param=name)
    if not all(isinstance(digest, str) for digest in found.values()):
        raise ClientError(f"{name} must give each name's digest", param=name)
    return {file: Digest.parse(digest) for file, digest in found.items()}


def _licenses(value: object) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value or []
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ClientError("license must be a text or an array of texts", param="license")
    return tuple(text for text in texts if text)


def _parameters(document: dict[str, Any]) -> dict[str, Any]:
    try:
        found = msgspec.convert(document.get("parameters") or {}, dict[str, Parameter | None])
        return checked_options(found)
    except (ValueError, msgspec.ValidationError) as error:
        raise ClientError(f"parameters: {error}", param="parameters") from error


def _messages(document: dict[str, Any]) -> tuple[Remark, ...]:
    found = document.get("messages") or []
    try:
        messages = msgspec.convert(found, tuple[Remark, ...])
    except msgspec.ValidationError as error:
        raise ClientError(f"messages: {error}", param="messages") from error
    if len(messages) > MOST_MESSAGES:
        raise ClientError(f"at most {MOST_MESSAGES} messages can be set", param="messages")
    if wrong := {message.role for message in messages} - {"system", "user", "assistant"}:
        raise ClientError(
            f"messages are of system, user or assistant, not {min(wrong)[:40]!r}", param="messages"
        )
    return messages
