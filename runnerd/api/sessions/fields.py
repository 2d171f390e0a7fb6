"""Sessions and turns as JSON, and what requests say of them."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from aiohttp import web

from runnerd.api.context import CONTEXT, encode, is_owner, text_field, timestamp
from runnerd.errors import ClientError
from runnerd.sessions import NewSession, Prompt, Session, SessionKind, Turn

_NAME = re.compile(r"[^\W_][\w. :@+-]{0,99}")


def session_json(
    request: web.Request, session: Session, warnings: list[str] | None = None
) -> dict[str, Any]:
    """A session as it is told; owners see whose it is.

    `warnings` says that it is about to be removed, and why.
    """
    context = request.app[CONTEXT]
    shown: dict[str, Any] = {
        "id": session.id,
        "name": session.name or None,
        "model": session.model_name,
        "model_id": session.model,
        "kind": session.kind,
        "system": session.system or None,
        "parameters": session.parameters,
        "created": timestamp(session.created),
        "last_used": timestamp(session.used),
        "expires": timestamp(session.expires),
        "turns": session.turns,
        "bytes": session.bytes,
        "prompts_waiting": context.sessions.waiting(session),
        "warnings": warnings or [],
    }
    if is_owner(request):
        shown["user"] = context.accounts.called(session.principal)
    return shown


def turn_json(turn: Turn, *, media: bool = False) -> dict[str, Any]:
    """A turn as it is told; of images and sounds only with `media` more than their sizes."""
    shown = {
        "number": turn.number,
        "prompt": turn.prompt,
        "attachments": attachments_of(turn.parts),
        "response": turn.response,
        "reasoning": turn.reasoning or None,
        "state": turn.state,
        "finish_reason": turn.finish_reason or None,
        "created": timestamp(turn.created),
        "usage": {
            "prompt_tokens": turn.prompt_tokens,
            "cached_tokens": turn.cached_tokens,
            "completion_tokens": turn.completion_tokens,
        },
    }
    if media and turn.parts:
        shown["parts"] = msgspec.Raw(turn.parts.encode())
    return shown


def new_session_of(document: dict[str, Any]) -> NewSession:
    """What a session is to be made of.  Raises errors.ClientError."""
    name = text_field(document, "name") or ""
    if name and not _NAME.fullmatch(name):
        raise ClientError(
            "name: up to 100 letters, digits, spaces and . : @ + - _, a letter or digit first",
            param="name",
        )
    kind = text_field(document, "kind") or SessionKind.CHAT
    if kind not in {*SessionKind}:
        raise ClientError(f"kind is one of {', '.join(SessionKind)}", param="kind")
    return NewSession(
        model=text_field(document, "model", required=True) or "",
        name=name,
        kind=SessionKind(kind),
        system=text_field(document, "system") or "",
        parameters=_parameters(document),
    )


def prompt_of(document: dict[str, Any]) -> Prompt:
    """What is said next.  Raises errors.ClientError."""
    text, parts = _said(document)
    after = document.get("after")
    if after is not None and (not isinstance(after, int) or isinstance(after, bool) or after < 0):
        raise ClientError("after is the number of turns that there are", param="after")
    return Prompt(text, _parameters(document), after, parts)


def _said(document: dict[str, Any]) -> tuple[str, str]:
    """The text of a prompt, and its parts as JSON where it has some; what else they may be is
    judged with the model.
    """
    said = document.get("prompt")
    if not isinstance(said, list):
        return text_field(document, "prompt", required=True) or "", ""
    if not said or not all(isinstance(part, dict) for part in said):
        raise ClientError("prompt is a text, or a list of parts as chats have them", param="prompt")
    texts = [part.get("text") for part in said if part.get("type") == "text"]
    return "\n".join(filter(None, map(_text, texts))), encode(said).decode()


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def attachments_of(parts: str) -> list[dict[str, Any]]:
    """What a prompt has beside its text: kinds, and bytes as they are kept."""
    every = msgspec.json.decode(parts, type=list[msgspec.Raw]) if parts else []
    kinds = [msgspec.json.decode(part, type=_Part).type for part in every]
    return [
        {"type": kind, "bytes": len(bytes(part))}
        for kind, part in zip(kinds, every, strict=True)
        if kind != "text"
    ]


class _Part(msgspec.Struct):
    type: str = ""


def _parameters(document: dict[str, Any]) -> dict[str, Any]:
    found = document.get("parameters")
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ClientError("parameters must be an object", param="parameters")
    return {name: value for name, value in found.items() if value is not None}
