"""Sessions as everybody uses them: made, prompted, interrupted, deleted.

Of a prompt one of these is true once its stream has ended:

| how it ends | what is kept |
|---|---|
| the model ends its response, or a limit does | the turn; it was on the disk before this was told |
| it is interrupted, and something was said | the turn, with what was said, as interrupted |
| it is interrupted, and nothing was said yet | nothing |
| whoever reads leaves, or the engine or the daemon fails | nothing: it can be asked again |

Whoever leaves while a complete turn is being written down finds it kept: `Prompt.after` tells these
two apart.  A session's id is its affinity key, so its prompts go to the instance that has evaluated
what was said before.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import uuid4

from runnerd import tasks, threads
from runnerd.access import Policy, Principal
from runnerd.config import Settings
from runnerd.database import Database
from runnerd.errors import BackendFailure, Conflict, ModelNotFound, RunnerdError
from runnerd.relay.exchanges import Exchanges
from runnerd.relay.streamed_response import StreamedResponse
from runnerd.relay.visible_models import VisibleModels
from runnerd.session_settings import SessionSettings
from runnerd.sessions.conversations import Conversations
from runnerd.sessions.kept_responses import KeptResponses
from runnerd.sessions.prompt_line import PromptLines, Standing
from runnerd.sessions.prompts import (
    Delta,
    Request,
    ResponseText,
    check_parameters,
    request_for,
)
from runnerd.sessions.session import NewSession, Prompt, Session, Turn, TurnState
from runnerd.sessions.session_store import History, KeptSession, Listed, SessionStore, Whose
from runnerd.supervisor.session_states import SessionStates

_EXPIRY_INTERVAL = 60.0  # seconds between two looks for sessions whose time is over
_LONG = 256 * 2**10  # bytes of a session's text whose next request is written in a thread


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a response.  `turn` is what was kept of it, and is on the disk; None: nothing,
    since it was interrupted before it began.  `removed` are sessions that had to make room.
    """

    turn: Turn | None
    removed: tuple[str, ...] = ()


class Sessions:
    """Owns all sessions, from `open` to `close`.

    Whoever asks is a principal; another principal's session is to it as one that there never was,
    unless it sees everything, as owners do.
    """

    def __init__(
        self,
        kept: Kept,
        exchanges: Exchanges,
        models: VisibleModels,
        policy: Policy,
        states: SessionStates,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._kept = kept
        self._store = kept.sessions
        self._exchanges = exchanges
        self._models = models
        self._policy = policy
        self._states = states
        states.last_response = kept.sessions.last_response
        self._clock = clock
        self._lines = PromptLines()
        self._expiry: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Look for sessions whose time is over, now and from time to time."""
        self._expiry = tasks.spawn(self._expire(), name="session expiry")

    async def close(self) -> None:
        """Look no more.  Idempotent."""
        if self._expiry is not None:
            await tasks.cancel_and_wait(self._expiry)
            self._expiry = None

    async def create(self, principal: Principal, new: NewSession) -> KeptSession:
        """Make a session.  Raises errors.ModelNotFound, Conflict, ClientError."""
        check_parameters(new.parameters)
        models = self._models.of(principal)
        model = models.get(new.model)
        session = Session(
            id=str(uuid4()),
            principal=principal.id,
            model=str(model.id),
            model_name=models.spelling(new.model),
            name=new.name,
            kind=new.kind,
            system=new.system,
            parameters=new.parameters,
            details=new.details,
        )
        added = await self._store.add(session)
        await self._gone(added.removed)
        return added

    async def get(self, principal: Principal, id: str) -> Session:
        """The session with this id or name.  Raises errors.SessionNotFound."""
        return await self._store.get(self._whose(principal), id)

    async def history(self, principal: Principal, id: str) -> History:
        """A session and what was said in it.  Raises errors.SessionNotFound."""
        return await self._store.history(self._whose(principal), id)

    async def listed(self, principal: Principal, limit: int) -> list[Listed]:
        """Sessions that there are for a principal, the one that was used last first."""
        return await self._store.listed(self._whose(principal), limit)

    def waiting(self, session: Session) -> int:
        """How many prompts of a session are being answered or wait for that."""
        return self._lines.waiting(session.id)

    async def prompt(
        self, principal: Principal, id: str, prompt: Prompt
    ) -> AsyncGenerator[Delta | Ended, None]:
        """Say something in a session; yields the response as it comes, and then its end.

        Closing the generator leaves: the response is cancelled and nothing of it is kept.  Raises
        errors.SessionNotFound, Conflict, and what a completion can fail with.
        """
        check_parameters(prompt.parameters)
        left = self._lines.left
        history = await self.history(principal, id)
        async with self._lines.place(history.session.id) as standing:
            if standing.interrupted:
                yield Ended(None)
                return
            if self._lines.left != left:  # it may have gone on meanwhile
                history = await self.history(principal, history.session.id)
            try:
                async with contextlib.aclosing(
                    self._answered(principal, history, prompt, standing)
                ) as answered:
                    async for each in answered:
                        yield each
            finally:
                self._states.settled(history.session.id)

    async def _answered(
        self, principal: Principal, history: History, prompt: Prompt, standing: Standing
    ) -> AsyncGenerator[Delta | Ended, None]:
        session, turns, _ = history
        if prompt.after not in (None, session.turns):
            raise Conflict(
                f"this session has {session.turns} turns, not {prompt.after}: somebody has gone on"
                " with it, or this was said already",
                param="after",
            )
        self._store.check_size(session, prompt.parts or prompt.text)
        path, body = await self._request(session, turns, prompt)
        said, began = ResponseText(), self._clock()
        try:
            async with self._exchanges.streamed(
                path, body, principal, session=session.id
            ) as response:
                standing.stops_by(response.stop)
                async for delta in _deltas(response, said):
                    yield delta
        except ModelNotFound as error:
            raise _model_gone(session) from error
        if not (said.ended or standing.interrupted):
            raise BackendFailure("the engine's response ended before its end")
        ended = await self._keep(session, prompt, said, began)
        self._states.settled(session.id)  # before the next prompt can come
        yield ended

    async def _request(self, session: Session, turns: Sequence[Turn], prompt: Prompt) -> Request:
        """What is asked next; of a long session it is written in a thread."""
        said = session.bytes + len(prompt.parts or prompt.text)
        if said <= _LONG:
            return request_for(session, turns, prompt)
        return await threads.run(request_for, session, turns, prompt)

    async def _keep(
        self, session: Session, prompt: Prompt, said: ResponseText, began: float
    ) -> Ended:
        """Write a turn down; after that it counts."""
        if not (said.ended or said.text or said.reasoning):
            return Ended(None)
        turn = Turn(
            session=session.id,
            number=session.turns + 1,
            prompt=prompt.text,
            parts=prompt.parts,
            response=said.text,
            created=began,
            state=TurnState.COMPLETE if said.ended else TurnState.INTERRUPTED,
            reasoning=said.reasoning,
            finish_reason=said.finish_reason,
            prompt_tokens=said.prompt_tokens,
            cached_tokens=said.cached_tokens,
            completion_tokens=said.completion_tokens,
        )
        kept = await self._store.add_turn(turn)
        await self._gone(kept.removed)
        return Ended(turn, tuple(kept.removed))

    async def interrupt(self, principal: Principal, id: str) -> int:
        """End what is being answered in a session and what waits for that; return how many prompts
        that were.  Raises errors.SessionNotFound.
        """
        session = await self.get(principal, id)
        return self._lines.interrupt(session.id)

    async def delete(self, principal: Principal, id: str) -> Session:
        """Remove a session; what is being answered in it ends, and is not kept.

        Raises errors.SessionNotFound.
        """
        session = await self._store.delete(self._whose(principal), id)
        await self._gone([session.id])
        return session

    async def _gone(self, ids: Iterable[str]) -> None:
        """Sessions are no more: end what is being answered, and drop what engines had evaluated."""
        for id in ids:
            self._lines.interrupt(id)
            await self._states.forget(id)

    def _whose(self, principal: Principal) -> Whose:
        return Whose(principal.id, self._policy.sees_everything(principal))

    async def _expire(self) -> None:
        while True:
            with contextlib.suppress(RunnerdError):  # the database says itself what is wrong
                await self._gone(await self._store.expire())
                await self._kept.responses.expire()
            await asyncio.sleep(_EXPIRY_INTERVAL)


async def _deltas(response: StreamedResponse, said: ResponseText) -> AsyncGenerator[Delta, None]:
    """What a response says, as it comes."""
    async for piece in response:
        if (delta := said.feed(piece)) is not None:
            yield delta


def _model_gone(session: Session) -> ModelNotFound:
    return ModelNotFound(
        f"the model of this session, {session.model_name}, is not here any more, or not for you;"
        " a session stays with the model that it was begun with",
        param="model",
    )


class Kept(NamedTuple):
    """What is kept of conversations."""

    sessions: SessionStore
    responses: KeptResponses
    conversations: Conversations


def build_kept(database: Database, settings: Settings) -> Kept:
    """The stores, in a database."""

    def now() -> SessionSettings:
        return settings.sessions

    return Kept(
        SessionStore(database, now, time.time),
        KeptResponses(database, now, time.time),
        Conversations(database, now, time.time),
    )


def build(
    kept: Kept,
    exchanges: Exchanges,
    models: VisibleModels,
    policy: Policy,
    states: SessionStates,
) -> Sessions:
    """Sessions, which remove what has ended of all that is kept."""
    return Sessions(kept, exchanges, models, policy, states)
