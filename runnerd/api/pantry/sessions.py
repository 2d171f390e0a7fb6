"""`/create_session` and what is done with one: prompts that stream, and interruptions.

A session is one of the daemon's (`sessions`), of one text without a template.  It is created among
the LLMs that are loaded; a prompt loads its LLM again where it is not loaded any more.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from runnerd.access import Action
from runnerd.api.context import CONTEXT, principal_of
from runnerd.api.pantry.bodies import decoded
from runnerd.api.pantry.customs import json_response, pantry_routes
from runnerd.api.pantry.known import best, known, running, running_status, status
from runnerd.api.pantry.prompt_events import PromptStream, session_status
from runnerd.api.pantry.wire import (
    CreateSession,
    CreateSessionFlex,
    CreateSessionId,
    CreateSessionResponse,
    FlexRequest,
    PromptSession,
    SessionRequest,
)
from runnerd.api.sessions.event_stream import stream_events
from runnerd.errors import ModelNotFound, PantryFailure, SessionNotFound
from runnerd.llms.filling import SYSTEM_PROMPT
from runnerd.llms.llms import LLM, find, parse_uuid
from runnerd.llms.prompting import engine_prompt, merged
from runnerd.sessions import NewSession, Prompt, Session, SessionKind

ROUTES = pantry_routes()


@ROUTES.post("/create_session", Action.USE_SESSIONS)
async def create_session(request: web.Request) -> web.Response:
    """A session with the best LLM that is loaded."""
    said = decoded(request, CreateSession).user_session_parameters
    return await _create(request, _best_running(request, FlexRequest()), said)


@ROUTES.post("/create_session_flex", Action.USE_SESSIONS)
async def create_session_flex(request: web.Request) -> web.Response:
    """A session with the best of those loaded that pass."""
    asked = decoded(request, CreateSessionFlex)
    return await _create(request, _best_running(request, asked), asked.user_session_parameters)


@ROUTES.post("/create_session_id", Action.USE_SESSIONS)
async def create_session_id(request: web.Request) -> web.Response:
    """A session with a certain LLM, which has to be loaded."""
    asked = decoded(request, CreateSessionId)
    llm = find(known(request), asked.llm_id)
    if str(llm.model.id) not in running(request):
        raise _not_active(llm.uuid)
    return await _create(request, llm, asked.user_session_parameters)


def _best_running(request: web.Request, asked: FlexRequest) -> LLM:
    loaded = running(request)
    there = [llm for llm in known(request) if str(llm.model.id) in loaded]
    return best(there, asked, "No running LLM matching requirements.")


async def _create(request: web.Request, llm: LLM, said: dict[str, Any]) -> web.Response:
    entry = llm.entry
    parameters = merged(entry.session_parameters, said, entry.user_session_parameters)
    system = parameters.get(SYSTEM_PROMPT)
    new = NewSession(
        model=llm.model.name,
        kind=SessionKind.TEXT,
        system=system if isinstance(system, str) else "",
        details={"llm_uuid": llm.uuid, "session_parameters": parameters},
    )
    kept = await request.app[CONTEXT].sessions.create(principal_of(request), new)
    return json_response(
        CreateSessionResponse(
            session_parameters=parameters,
            llm_status=status(llm, running=True),
            session_id=kept.session.id,
        )
    )


@ROUTES.post("/prompt_session_stream", Action.USE_SESSIONS)
async def prompt_session_stream(request: web.Request) -> web.StreamResponse:
    """Say something, and get the response in events; whoever leaves cancels it."""
    asked = decoded(request, PromptSession)
    session, llm = await _session(request, asked)
    parameters = merged(llm.entry.parameters, asked.parameters, llm.entry.user_parameters)
    prompt = engine_prompt(asked.prompt, parameters)
    stream = PromptStream(
        session=session_status(session),
        llm_uuid=llm.uuid,
        input=prompt.text,
        parameters=parameters,
    )
    answered = request.app[CONTEXT].sessions.prompt(
        principal_of(request), session.id, Prompt(prompt.text, prompt.parameters)
    )
    return await stream_events(request, stream.events(answered))


@ROUTES.post("/interrupt_session", Action.USE_SESSIONS)
async def interrupt_session(request: web.Request) -> web.Response:
    """End what is answered in a session, and what waits, after the next token."""
    session, llm = await _session(request, decoded(request, SessionRequest))
    sessions = request.app[CONTEXT].sessions
    count = await sessions.interrupt(principal_of(request), session.id)
    if not count and not session.turns:
        raise PantryFailure("Cancellation token missing: nothing was asked in this session")
    return json_response(running_status(llm, running=str(llm.model.id) in running(request)))


async def _session(request: web.Request, asked: SessionRequest) -> tuple[Session, LLM]:
    """The session that is asked for, and its LLM, which has to be the one that is named.

    Raises errors.ClientError, SessionNotFound, ModelNotFound.
    """
    id, uuid = parse_uuid(asked.session_id), parse_uuid(asked.llm_uuid)
    session = await request.app[CONTEXT].sessions.get(principal_of(request), id)
    if "llm_uuid" not in session.details:
        raise SessionNotFound(f"session {id} was not made with this API")
    if session.details["llm_uuid"] != uuid:
        raise _not_active(uuid)
    return session, find(known(request), uuid)


def _not_active(uuid: str) -> ModelNotFound:
    return ModelNotFound(
        f"LLM with UUID {uuid} not currently active. Either load it, or create a new session."
    )
