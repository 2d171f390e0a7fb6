"""Sessions and turns as JSON, and what requests say of them."""

from __future__ import annotations

import re
from typing import Any

from aiohttp import web

from runnerd.api.context import CONTEXT, is_owner, text_field, timestamp
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


def turn_json(turn: Turn) -> dict[str, Any]:
    """A turn as it is told."""
    return {
        "number": turn.number,
        "prompt": turn.prompt,
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
    text = text_field(document, "prompt", required=True) or ""
    after = document.get("after")
    if after is not None and (not isinstance(after, int) or isinstance(after, bool) or after < 0):
        raise ClientError("after is the number of turns that there are", param="after")
    return Prompt(text, _parameters(document), after)


def _parameters(document: dict[str, Any]) -> dict[str, Any]:
    found = document.get("parameters")
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ClientError("parameters must be an object", param="parameters")
    return {name: value for name, value in found.items() if value is not None}
