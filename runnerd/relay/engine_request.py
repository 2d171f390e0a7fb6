"""A request at one engine, as it goes out: sent, held back while nobody reads, let go of.

One that the engine cannot have seen is sent once more on another connection.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import msgspec

from runnerd.errors import Overloaded, RunnerdError, UpstreamTimeout
from runnerd.relay.asking_exchange import AskingExchange
from runnerd.relay.connect_retry import retry_connect
from runnerd.relay.dialect import Translation
from runnerd.relay.engine_connection import EngineConnection
from runnerd.relay.engine_errors import broken
from runnerd.relay.exchange_context import ExchangeContext
from runnerd.relay.last_event import has_last_event
from runnerd.relay.plan import Plan
from runnerd.relay.records import RequestRecord
from runnerd.relay.response_receiver import Loss
from runnerd.relay.response_sink import ResponseSink
from runnerd.relay.translations import PASSED
from runnerd.runner import UNASKED, Runner
from runnerd.scheduler import RunnerKey

_LAST_BYTES = 2**20  # of a stream that is about to be ended


class EngineRequest(msgspec.Struct, eq=False):
    """Owns the connection from `ask` to `close` (a StallTimeoutClient and an UnreadStream).

    What comes back is its subclass's affair (a ResponseReceiver), which inherits instead of being
    another object: each request would pay for that.  A struct for the same reason.
    """

    exchange: AskingExchange
    _runner: Runner
    plan: Plan
    _sink: ResponseSink
    _record: RequestRecord
    _context: ExchangeContext
    _engine: EngineConnection | None = None
    _translation: Translation = PASSED  # of the response
    status: int = 0  # of the engine's response, 0 before it came
    closed: bool = False
    _paused: bool = False
    _prepared: bool = False  # what is to be done before the end was done
    _repeated: bool = False
    _asked_again: bool = False  # what the plan has for another case
    _intact: bool = True
    _ending: int = 0  # so many bytes more, at most
    behind: bool = False  # its client has once not kept up
    heard: bool = True
    silent_since: float = 0.0
    _last: bytes = b""  # of the response: the latest piece that was passed on
    _held: int = 0  # bytes of a response that is kept until its end

    @property
    def key(self) -> RunnerKey:
        """The key of the runner that is asked."""
        return self.plan.key

    @property
    def said_all(self) -> bool:
        """Whether all that a client waits for was passed on and taken: only the end lacks."""
        unread = self._paused or self._sink.unread_bytes()
        return not unread and self.status < 400 and has_last_event(self._last)

    # the exchange's side

    def ask(self, *, fresh: bool = False) -> None:
        """Send the request; a task goes on where that takes waiting."""
        self._prepared = False
        try:
            self._send(fresh=fresh)
        except BlockingIOError:
            self.exchange.go_on(self._ask_again)
        except OSError as error:
            self.exchange.unreached(error)
        except RunnerdError as error:
            self.exchange.fail(error)

    def _send(self, *, fresh: bool) -> None:
        if self.closed:
            return
        context, plan = self._context, self.plan
        pool = context.pools.of(self._runner.endpoint)
        receiver: Any = self  # a ResponseReceiver with what its subclass has
        self._engine = pool.ask(
            receiver, plan.message(self._record.id), fresh=fresh, at_the_end=plan.assembles
        )
        context.watch.add(self)
        if self._paused:
            self._engine.pause()

    async def _ask_again(self) -> None:
        """Try for as long as an engine may be silent: it has no room for a connection."""
        send = partial(self._send, fresh=True)
        try:
            await retry_connect(send, self._context.limits.upstream_timeout)
        except OSError as error:
            self.exchange.unreached(error)

    def pause(self) -> None:
        """The engine waits."""
        self._paused = self.behind = True
        if self._engine is not None:
            self._engine.pause()
        if not self.closed:
            self._context.unread.add(self)

    def resume(self) -> None:
        """It goes on."""
        self._paused = False
        self._context.unread.remove(self)
        self.heard = True
        if self._engine is not None:
            self._engine.resume()

    def heard_at(self) -> float:
        """When something came that shows work: now, as long as no round has found otherwise.

        Nothing does that has waited for its client, for it may be old, or that needs no working
        thread.
        """
        if self._paused:
            return UNASKED
        if not self.status:
            return 0.0
        if not self.plan.operation.computes:
            return UNASKED
        if self.behind:
            return 0.0
        return time.monotonic() if self.heard else self.silent_since

    def silent(self) -> None:
        """Give up on an engine that has sent nothing for too long, unless it was told to wait."""
        if not self._paused:
            limit = self._context.limits.upstream_timeout
            self.exchange.fail(UpstreamTimeout(f"the engine sent nothing for {limit:g} s"))

    def close(self) -> None:
        """Let go of the engine, which sees that and stops.  Idempotent."""
        self.closed = True
        self._context.watch.remove(self)
        if self._paused:
            self._context.unread.remove(self)
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    @property
    def intact(self) -> bool:
        """Whether what was passed on of a body ends where one of the engine's chunks ends."""
        return self._intact and (self._engine is None or self._engine.is_between_chunks)

    # while the client does not read (UnreadStream)

    def unread_bytes(self) -> int:
        return self._sink.unread_bytes()

    def give_up(self) -> None:
        """End where the reason can be told: behind the chunk that is passed on, and what little
        the engine has sent meanwhile.
        """
        self._ending = _LAST_BYTES
        self.resume()
        self._end_here(0)

    def _end_here(self, size: int) -> None:
        self._ending -= size
        if self.intact or self._ending <= 0:
            error = Overloaded("the response was not read while others wait for the model")
            self.exchange.fail(error)

    # called by the engine's connection

    def engine_lost(self, loss: Loss) -> None:
        self._engine = None
        self._context.watch.remove(self)
        self._intact = loss.whole_chunks
        if loss.unseen and not self._repeated:
            self._repeated = True
            self.ask(fresh=True)
        elif loss.hung_up:
            self.exchange.hung_up(loss.reason)
        else:
            self.exchange.fail(broken(loss.reason))
