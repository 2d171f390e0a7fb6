"""The routes: making, listing, showing, prompting, interrupting and deleting sessions."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator

from aiohttp import web

from runnerd import sse
from runnerd.access import Action
from runnerd.accounts.audit import AuditEntry
from runnerd.api.auditing import route_of
from runnerd.api.context import CONTEXT, encode, flag, json_body, json_response, principal_of
from runnerd.api.routing import Routes
from runnerd.api.sessions import fields as said
from runnerd.api.sessions.event_stream import stream_events
from runnerd.errors import ClientError
from runnerd.sessions import Delta, Ended, Sessions

ROUTES = Routes()

_USUAL, _MOST = 100, 1000
_PROMPT_BYTES = 24 * 2**20  # with images and sounds in it


@ROUTES.get("/runnerd/sessions", Action.USE_SESSIONS)
async def list_sessions(request: web.Request) -> web.Response:
    """One's own sessions, and for owners all; the one that was used last first."""
    found = await _sessions(request).listed(principal_of(request), _limit(request))
    return json_response([said.session_json(request, *listed) for listed in found])


@ROUTES.post("/runnerd/sessions", Action.USE_SESSIONS)
async def create_session(request: web.Request) -> web.Response:
    """Make a session; `removed` names those that had to make room for it."""
    new = said.new_session_of(await json_body(request))
    kept = await _sessions(request).create(principal_of(request), new)
    shown = said.session_json(request, kept.session)
    return json_response(shown | {"removed": kept.removed}, status=201)


@ROUTES.get("/runnerd/sessions/{id}", Action.USE_SESSIONS)
async def show_session(request: web.Request) -> web.Response:
    """A session, by its id or one's own name for it, and all that was said in it; `media` shows
    images and sounds, too.
    """
    found = await _sessions(request).history(principal_of(request), request.match_info["id"])
    shown = said.session_json(request, found.session, found.warnings)
    media = flag(request, "media")
    turns = [said.turn_json(turn, media=media) for turn in found.turns]
    return json_response(shown | {"history": turns})


@ROUTES.post("/runnerd/sessions/{id}/prompt", Action.USE_SESSIONS)
async def prompt_session(request: web.Request) -> web.StreamResponse:
    """Say something, and get the response as server-sent events: `delta`s and an `end`.

    The `end` comes once the turn is on the disk.  An error before the first event is a response
    with its status, later an event `error`.  Closing the connection cancels.
    """
    prompt = said.prompt_of(await json_body(request, _PROMPT_BYTES))
    sessions, id = _sessions(request), request.match_info["id"]
    return await stream_events(request, _events(sessions.prompt(principal_of(request), id, prompt)))


async def _events(
    answered: AsyncGenerator[Delta | Ended, None],
) -> AsyncGenerator[bytes, None]:
    try:
        async for each in answered:
            if isinstance(each, Delta):
                told = {"text": each.text}
                if each.reasoning:
                    told["reasoning"] = each.reasoning
                yield sse.encoded(encode(told), "delta")
            else:
                turn = None if each.turn is None else said.turn_json(each.turn)
                yield sse.encoded(encode({"turn": turn, "removed": each.removed}), "end")
    finally:
        await answered.aclose()


@ROUTES.post("/runnerd/sessions/{id}/interrupt", Action.USE_SESSIONS)
async def interrupt_session(request: web.Request) -> web.Response:
    """End what is being answered, and what waits; what was said of it is kept."""
    count = await _sessions(request).interrupt(principal_of(request), request.match_info["id"])
    return json_response({"interrupted": count})


@ROUTES.delete("/runnerd/sessions/{id}", Action.USE_SESSIONS)
async def delete_session(request: web.Request) -> web.Response:
    """Remove a session; that an owner has removed somebody else's goes into the audit."""
    context, principal = request.app[CONTEXT], principal_of(request)
    session = await context.sessions.delete(principal, request.match_info["id"])
    if session.principal != principal.id:
        who, whose = context.accounts.called(principal.id), session.principal
        about = f"{context.accounts.called(whose)} {session.id}"
        await context.accounts.audit.add(
            AuditEntry(
                time.time(), principal.id, who, "delete_session", route_of(request), about, 200
            )
        )
    return json_response({"id": session.id, "deleted": True})


def _sessions(request: web.Request) -> Sessions:
    return request.app[CONTEXT].sessions


def _limit(request: web.Request) -> int:
    text = request.query.get("limit", str(_USUAL))
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:6]) <= _MOST:
        raise ClientError(f"limit is a number from 1 to {_MOST}", param="limit")
    return int(text)
