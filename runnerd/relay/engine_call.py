"""One request at one engine: asked until its response is complete, or until it will not be.

The engine's bytes go through a `Translation` to the exchange's sink as they come.  A request that
the engine cannot have seen is asked once more on another connection, one that it refuses in other
words where there are any.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any, Protocol

from runnerd import threads
from runnerd.errors import Overloaded, RunnerdError, UpstreamTimeout
from runnerd.relay import usage
from runnerd.relay.aside import TakesLonger
from runnerd.relay.background import Steps
from runnerd.relay.connect_retry import retry_connect
from runnerd.relay.dialect import AskedAgain, BeforeEnd, Translation
from runnerd.relay.engine import EngineConnection, Loss
from runnerd.relay.engine_errors import EngineRefusal, broken
from runnerd.relay.events import EVENT_STREAM, StreamError, UnwantedResponse, written
from runnerd.relay.exchange_context import ExchangeContext
from runnerd.relay.plan import Plan
from runnerd.relay.records import RequestRecord
from runnerd.relay.response_adapters.unparsed_end import UnparsedEnd, is_unparsed
from runnerd.relay.response_parser import ResponseHead
from runnerd.relay.response_sink import ResponseSink
from runnerd.relay.translations import PASSED, ErrorBody, Renamed, of_stream
from runnerd.runner import UNASKED, Runner


class AskingExchange(Protocol):
    """Whose request it is.  It is told one of the last five, once, and then closes the call."""

    def go_on(self, steps: Steps) -> None:
        """Take steps in a task."""
        ...

    def completed(self) -> None:
        """The sink has all pieces of the response."""
        ...

    def respond(self, body: bytes, content_type: bytes) -> None:
        """This is the whole response."""
        ...

    def fail(self, error: RunnerdError) -> None:
        """There will be no response, or no more of it."""
        ...

    def unreached(self, error: OSError) -> None:
        """Nothing was sent, nobody listens."""
        ...

    def hung_up(self, reason: str) -> None:
        """The engine has ended the connection, perhaps because it has ended itself."""
        ...


_LAST_BYTES = 2**20  # of a stream that is about to be ended
_CUT = ResponseHead(200, EVENT_STREAM, None, chunked=True, keeps=False)


class EngineCall:
    """Owns the connection from `ask` to `close` (a ResponseReceiver, a StallTimeoutClient and an
    UnreadStream).
    """

    __slots__ = (
        "_asked_again", "_closed", "_context", "_ending", "_engine", "_exchange", "_intact",
        "_paused", "_plan", "_prepared", "_record", "_repeated", "_runner", "_sink", "_status",
        "_translation", "behind", "heard", "key", "silent_since",
    )  # fmt: skip

    def __init__(
        self,
        exchange: AskingExchange,
        runner: Runner,
        plan: Plan,
        sink: ResponseSink,
        record: RequestRecord,
        context: ExchangeContext,
    ) -> None:
        self._exchange = exchange
        self._runner = runner
        self._plan = plan
        self.key = plan.key
        self._sink = sink
        self._record = record
        self._context = context
        self._engine: EngineConnection | None = None
        self._translation: Translation = PASSED
        self._status = 0  # of the engine's response, 0 before it came
        self._closed = False
        self._paused = False
        self._prepared = False  # what is to be done before the end was done
        self._repeated = False
        self._asked_again = False
        self._intact = True
        self._ending = 0  # so many bytes more, at most
        self.behind = False  # its client has once not kept up
        self.heard = True
        self.silent_since = 0.0

    # the exchange's side

    def ask(self, *, fresh: bool = False) -> None:
        """Send the request; a task goes on where that takes waiting."""
        self._prepared = False
        try:
            self._send(fresh=fresh)
        except BlockingIOError:
            self._exchange.go_on(self._ask_again)
        except OSError as error:
            self._exchange.unreached(error)
        except RunnerdError as error:
            self._exchange.fail(error)

    def _send(self, *, fresh: bool) -> None:
        if self._closed:
            return
        context, plan = self._context, self._plan
        pool = context.pools.of(self._runner.endpoint)
        self._engine = pool.ask(
            self, plan.message(self._record.id), fresh=fresh, at_the_end=plan.assembles
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
            self._exchange.unreached(error)

    def pause(self) -> None:
        """The engine waits."""
        self._paused = self.behind = True
        if self._engine is not None:
            self._engine.pause()
        if not self._closed:
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
        if not self._status:
            return 0.0
        if not self._plan.operation.computes:
            return UNASKED
        if self.behind:
            return 0.0
        return time.monotonic() if self.heard else self.silent_since

    def silent(self) -> None:
        """Give up on an engine that has sent nothing for too long, unless it was told to wait."""
        if not self._paused:
            limit = self._context.limits.upstream_timeout
            self._exchange.fail(UpstreamTimeout(f"the engine sent nothing for {limit:g} s"))

    def close(self) -> None:
        """Let go of the engine, which sees that and stops.  Idempotent."""
        self._closed = True
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
            self._exchange.fail(error)

    # called by the engine's connection

    def engine_head(self, head: ResponseHead) -> bool:
        self.heard = True
        plan, record = self._plan, self._record
        record.first_byte = time.monotonic() - record.clock
        self._status = head.status
        if head.status >= 400:
            self._translation = ErrorBody()
            return False
        self._translation = translation = self._translation_of(plan)
        if not translation.streams:
            waits = head.chunked and not plan.assembles and plan.again is None
            if waits and self._engine is not None:
                self._engine.read_at_the_end()
            return False
        if record.status:  # another round of a response that has begun
            return False
        passes = translation is PASSED
        try:
            framed = self._sink.head(
                head.status,
                translation.content_type or head.content_type,
                head.length if passes else None,
                chunked=head.chunked or not passes,
                framed=head.chunked and passes,
                streams=plan.streams,
                warnings=plan.warnings,
            )
        except RunnerdError as error:
            self._exchange.fail(error)
            return False
        record.status = head.status
        return framed

    def _translation_of(self, plan: Plan) -> Translation:
        """An engine knows its model by its first client's word; others get their own."""
        name = self._runner.spec.model_ref
        if name == plan.model_ref or plan.assembles:
            return plan.translation
        return Renamed(plan.translation, name, plan.model_ref)

    def engine_body(self, data: bytes) -> None:
        self.heard = True
        counts = usage.excerpt(data)
        if counts is not None:
            self._record.counts = usage.joined(self._record.counts, counts)
        if self._translation is not PASSED:
            try:
                data = of_stream(self._translation.feed, data)
            except StreamError as error:
                self._refuse(error.error, refused=self._status >= 400)
                return
            except AskedAgain:
                self._ask_the_second()
                return
        if data:
            self._record.bytes_out += len(data)
            self._sink.piece(data)
            if self._asked_again:
                _count(self._record, data)
            if self._ending:
                self._end_here(len(data))

    def engine_done(self) -> None:
        self._engine = None
        if self._closed:
            return  # the last piece has ended it
        work = self._plan.before_end
        if work is not None and self._status < 400 and not self._prepared:
            self._prepared = True
            self._exchange.go_on(partial(_end_after, self, work))
            return
        translation = self._translation
        try:
            last = of_stream(translation.end)
        except StreamError as error:
            unwanted = isinstance(error, UnwantedResponse)
            self._refuse(error.error, refused=unwanted or self._status >= 400)
            return
        except AskedAgain:
            self._ask_the_second()
            return
        if self._asked_again:
            _count(self._record, last)
        if not translation.streams:
            self._exchange.respond(last, translation.content_type)
            return
        if last:
            self._record.bytes_out += len(last)
            self._sink.piece(last)
        self._exchange.completed()

    def engine_lost(self, loss: Loss) -> None:
        self._engine = None
        self._context.watch.remove(self)
        self._intact = loss.whole_chunks
        if loss.unseen and not self._repeated:
            self._repeated = True
            self.ask(fresh=True)
        elif loss.hung_up:
            self._exchange.hung_up(loss.reason)
        else:
            self._exchange.fail(broken(loss.reason))

    def _ask_the_second(self) -> None:
        """Let go of what the engine is about to say, and ask what the plan has for this case."""
        assert self._plan.again is not None
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()
        self._plan = self._plan.again
        self._asked_again = True
        self._status = 0
        self.ask()

    def _refuse(self, error: dict[str, Any], *, refused: bool) -> None:
        """Ask in other words what the engine has refused, or end with its own error."""
        plan = self._plan
        try:
            if refused and plan.is_large:
                raise TakesLonger
            other = plan.otherwise(error) if refused else None
        except TakesLonger:
            self._exchange.go_on(partial(_ask_otherwise, self, plan, error))
        else:
            _ask_instead(self, other, error, refused=refused)


def _count(record: RequestRecord, data: bytes) -> None:
    """Note what several requests to the engine took together, as it is told to the client."""
    record.counts = usage.excerpt(data) or record.counts


def _end_unparsed(call: EngineCall, error: dict[str, Any]) -> None:
    """Let a response of which the engine has nothing but this error be one that was cut."""
    call.engine_head(_CUT)
    call.engine_body(written({"error": error}))
    call.engine_done()


async def _ask_otherwise(call: EngineCall, plan: Plan, error: dict[str, Any]) -> None:
    """Put a large request into other words in a thread."""
    other = await threads.run(plan.otherwise, error)
    _ask_instead(call, other, error, refused=True)


def _ask_instead(
    call: EngineCall, other: Plan | None, error: dict[str, Any], *, refused: bool
) -> None:
    """Go on with what is asked instead of what the engine has refused, if anything is."""
    if call._closed:
        return
    if other is not None:
        call._plan = other
        call.ask()
    elif refused and is_unparsed(error) and isinstance(call._plan.translation, UnparsedEnd):
        _end_unparsed(call, error)
    else:
        call._exchange.fail(EngineRefusal(call._status, error))


async def _end_after(call: EngineCall, work: BeforeEnd) -> None:
    """Let a response end once `work` is done."""
    await work()
    call.engine_done()
