"""One inference request: from the complete body to the last byte of the answer.

    phase       what happens                                       the client leaves
    arriving    the model is being pulled (seldom)                 the pull goes on
    waiting     a runner is leased, perhaps loaded first           the queue entry goes
    asking      the engine has the request                         the engine's connection is cut
    answering   bytes flow, with flow control both ways            the engine's connection is cut

When a runner is ready all of this happens in callbacks; a task exists only while something is
waited for.  However it ends, the lease is released once and the record is completed.  A stream that
breaks ends with an error event and no `[DONE]`; an answer that has not begun becomes an error with
the engine's own last words.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from runnerd import tasks
from runnerd.errors import BackendFailure, InternalError, RunnerdError, UpstreamTimeout
from runnerd.relay import usage
from runnerd.relay.connect_retry import abandon, reach, retry_connect
from runnerd.relay.dialect import Translation
from runnerd.relay.engine import EngineConnection, Loss, ResponseReceiver
from runnerd.relay.engine_errors import broken, client_error, error_object, explained
from runnerd.relay.events import EVENT_STREAM, StreamError
from runnerd.relay.exchange_context import Client, ExchangeContext
from runnerd.relay.intake import PendingPlan
from runnerd.relay.messages import (
    Request,
)
from runnerd.relay.plan import Plan
from runnerd.relay.records import RequestRecord
from runnerd.relay.response_adapters.assembly import Assembly
from runnerd.relay.response_adapters.model_name import RenamingReceiver
from runnerd.relay.response_parser import ResponseHead
from runnerd.relay.response_writer import ResponseWriter
from runnerd.relay.sse_heartbeat import asks_for_heartbeat
from runnerd.supervisor import Lease

log = logging.getLogger(__name__)

_ERROR_LIMIT = 64 * 2**10  # bytes of an engine's error that are read


class Exchange:
    """Owns one request from `start` until `exchange_done` was told or it was cancelled."""

    __slots__ = (
        "_assembly",
        "_context",
        "_engine",
        "_error",
        "_lease",
        "_moved",
        "_over",
        "_pending",
        "_plan",
        "_record",
        "_repeated",
        "_request",
        "_response",
        "_task",
        "_ticket",
        "_whole_chunks",
        "heard",
        "silent_since",
    )  # fmt: skip

    def __init__(
        self,
        client: Client,
        request: Request,
        plan: Plan | PendingPlan,
        record: RequestRecord,
        context: ExchangeContext,
    ) -> None:
        self._response = ResponseWriter(client, request, record)
        self._request = request
        self._plan: Plan
        self._pending: PendingPlan | None = None
        if isinstance(plan, Plan):
            self._plan = plan
            self._response.plan = plan
        else:
            self._pending = plan
        self._record = record
        self._context = context
        self._ticket: int | None = None  # to leave the queue with
        self._lease: Lease | None = None
        self._engine: EngineConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._assembly: Assembly | None = None
        self._error: bytearray | None = None
        self._over = False
        self._repeated = False
        self._moved = False  # to another runner
        self._whole_chunks = True  # what the client got ends where a chunk ends
        self.heard = True
        self.silent_since = 0.0

    # the connection's side

    def start(self) -> None:
        """Ask a runner at once, or go and wait for one; returns at once."""
        if self._pending is not None:
            self._go_on(partial(self._arrive, self._pending))
            return
        plan = self._plan
        if plan.unloads:
            self._go_on(self._unload)
            return
        supervisor, principal = self._context.supervisor, self._response.principal()
        lease = supervisor.lease_at_once(
            plan.key, principal=principal, keep_alive=plan.keep_alive, affinity=plan.affinity
        )
        if lease is not None:
            self.granted(lease)
            return
        if not asks_for_heartbeat(self._request):
            self._ticket = supervisor.line_up(
                plan.key,
                self,
                principal=principal,
                keep_alive=plan.keep_alive,
                affinity=plan.affinity,
            )
        if self._ticket is None:
            self._go_on(self._wait)

    def cancel(self) -> None:
        """The client has gone: leave the queue, or cut the engine's connection; idempotent."""
        self._response.gone()
        self._record.error = self._record.error or "client disconnected"
        self._release()
        task, self._task = self._task, None  # whose end holds on to its frames, and so to this
        if task is not None:
            task.cancel()

    def pause(self) -> None:
        """The client does not keep up; the engine waits."""
        self._response.paused = True
        if self._engine is not None:
            self._engine.pause()

    def resume(self) -> None:
        """The client reads again."""
        self._response.paused = False
        self.heard = True
        if self._engine is not None:
            self._engine.resume()

    # waiting and asking

    def _go_on(self, steps: Callable[[], Awaitable[None]]) -> None:
        """Take steps that need waiting for something, in a task."""
        self._task = tasks.spawn(self._attempt(steps), name=f"exchange {self._request.id}")

    async def _attempt(self, steps: Callable[[], Awaitable[None]]) -> None:
        """Take steps; whatever goes wrong with them, the client is told."""
        try:
            await steps()
        except RunnerdError as error:
            self._fail(error.with_traceback(None))  # it would refer to this
        except Exception:
            log.exception("exchange %s failed", self._request.id)
            self._fail(InternalError())

    async def _arrive(self, pending: PendingPlan) -> None:
        """Wait for a model that is being pulled, then go on as usual."""
        self._response.start_heartbeat(streams=pending.streams)
        self._plan = plan = await pending.wait()
        self._pending, self._response.plan = None, plan
        self._record.model, self._record.streamed = plan.model, plan.streams
        if not self._over:
            self.start()

    async def _unload(self) -> None:
        plan = self._plan
        await self._context.supervisor.unloading.unload(models={plan.model})
        self._whole(200, plan.immediate or b"", b"application/json")

    async def _wait(self) -> None:
        plan = self._plan
        plan.validate_request()
        self._response.start_heartbeat(streams=plan.sends_events)
        lease = await self._context.supervisor.lease(
            plan.key,
            plan.model_ref,
            principal=self._response.principal(),
            keep_alive=plan.keep_alive,
            affinity=plan.affinity,
            afresh=plan.preload_only or plan.immediate is not None,
        )
        self._leased(lease)

    def granted(self, lease: Lease) -> None:
        """A runner is there (supervisor.Claimant)."""
        if self._ticket is None:
            self._begin_with(lease)
        else:
            self._context.pools.poller.afterwards(partial(self._begin_with, lease))

    def _begin_with(self, lease: Lease) -> None:
        if lease.recalls and not self._over:
            self._lease = lease
            self._go_on(self._recall)
            return
        try:
            self._leased(lease)
        except Exception:  # who has given it back, and so called this, is not to blame
            log.exception("exchange %s failed", self._request.id)
            self._fail(InternalError())

    def refused(self, error: RunnerdError) -> None:
        """There will be no runner (supervisor.Claimant)."""
        self._fail(error)

    async def _recall(self) -> None:
        assert self._lease is not None
        self._response.start_heartbeat(streams=self._plan.sends_events)
        self._leased(await self._context.supervisor.recalled(self._lease))

    def _leased(self, lease: Lease) -> None:
        if self._over:
            lease.release()
            return
        self._lease = lease
        record = self._record
        record.waited = time.monotonic() - record.clock
        record.runner = lease.runner.name
        lease.revoked = self._revoked
        lease.heard_at = self._heard_at
        if self._plan.preload_only or self._plan.immediate is not None:
            try:
                reach(lease)
            except OSError as error:
                self._unreached(error)
            else:
                self._whole(200, self._plan.immediate or b"", b"application/json")
        else:
            self._ask()

    def _heard_at(self) -> float:
        """Return when something came: now, as long as no round has found otherwise."""
        if not self._response.status:
            return 0.0
        return time.monotonic() if self.heard else self.silent_since

    def _ask(self, *, fresh: bool = False) -> None:
        """Send the request to the engine; a task goes on where that takes waiting."""
        try:
            self._send(fresh=fresh)
        except BlockingIOError:
            self._go_on(self._redial)
        except OSError as error:
            self._unreached(error)
        except RunnerdError as error:
            self._fail(error)

    def _send(self, *, fresh: bool) -> None:
        assert self._lease is not None
        context, plan, runner = self._context, self._plan, self._lease.runner
        receiver: ResponseReceiver = self
        if (name := runner.spec.model_ref) != plan.model_ref and not plan.assembles:
            receiver = RenamingReceiver(self, name, plan.model_ref)
        pool = context.pools.of(runner.engine_socket)
        self._engine = pool.ask(receiver, plan.message(), fresh=fresh, at_the_end=plan.assembles)
        context.watch.add(self)
        if self._response.paused:
            self._engine.pause()

    async def _redial(self) -> None:
        """Try again for as long as an engine may be silent: it has no room for a connection."""

        def send() -> None:
            if not self._over:
                self._send(fresh=True)

        try:
            await retry_connect(send, self._context.limits.upstream_timeout)
        except OSError as error:
            self._unreached(error)

    def _unreached(self, error: OSError) -> None:
        """Nothing was sent: let another runner have it, once."""
        assert self._lease is not None
        if self._moved or not abandon(self._lease, error):
            reason = f"it does not accept connections ({error.strerror})"
            self._go_on(partial(self._explain, reason))
            return
        self._lease, self._moved = None, True
        self._go_on(self._wait)

    def silent(self) -> None:
        """Give up on an engine that has sent nothing for too long, unless it was told to wait."""
        if not self._response.paused:
            limit = self._context.limits.upstream_timeout
            self._fail(UpstreamTimeout(f"the engine sent nothing for {limit:g} s"))

    # answering: called by the engine's connection

    def engine_head(self, head: ResponseHead) -> bool:
        self.heard = True
        record = self._record
        record.first_byte = time.monotonic() - record.clock
        response = self._response
        response.status = head.status
        response.stop_heartbeat()
        if head.status >= 400:
            self._error = bytearray()
        elif self._plan.translation is not None:
            translation = self._plan.translation
            if translation.streams and not response.begun:
                response.prepare(ResponseHead(200, translation.content_type, None, True, True))
            elif not translation.streams and head.chunked and self._engine is not None:
                self._engine.read_at_the_end()
        elif response.begun:  # by a ping
            if not (head.chunked and head.content_type.startswith(EVENT_STREAM)):
                self._fail(broken("it does not stream"))
            return response.chunked
        elif self._plan.assembles:
            self._assembly = Assembly(self._plan.prompts, self._plan.model_ref)
        else:
            response.prepare(head)
            return response.chunked and head.chunked
        return False

    def engine_body(self, data: bytes) -> None:
        self.heard = True
        counts = usage.excerpt(data)
        if counts is not None:
            self._record.counts = counts
        if self._error is not None:
            if len(self._error) < _ERROR_LIMIT:
                self._error += data
        elif self._plan.translation is not None:
            self._translate(self._plan.translation, data)
        elif self._assembly is not None:
            try:
                self._assembly.feed(data)
            except StreamError as error:
                self._refused(error.error)
        else:
            self._response.pass_on(data)

    def engine_done(self) -> None:
        self._engine = None
        if self._over:
            return  # the last piece has ended it
        if self._error is not None:
            error = error_object(bytes(self._error))
            if (other := self._plan.otherwise(error)) is None:
                self._refused(error)
            else:
                self._plan, self._error = other, None
                self._ask()
        elif self._plan.translation is not None:
            self._finish(self._plan.translation)
        elif self._assembly is not None:
            self._whole(200, self._assembly.result(), b"application/json")
        else:
            self._response.send_head()
            self._end(keep_alive=self._request.keep_alive)

    def engine_lost(self, loss: Loss) -> None:
        self._engine = None
        self._context.watch.remove(self)
        self._whole_chunks = loss.whole_chunks
        if loss.unseen and not self._repeated:
            self._repeated = True
            self._ask(fresh=True)
        elif loss.hung_up:
            self._go_on(partial(self._explain, loss.reason))
        else:
            self._fail(broken(loss.reason))

    # towards the client

    def _translate(self, translation: Translation, data: bytes) -> None:
        try:
            self._response.send_piece(translation.feed(data))
        except StreamError as error:
            self._refused(error.error)

    def _finish(self, translation: Translation) -> None:
        """Send what a translated answer ends with."""
        try:
            last = translation.end()
        except StreamError as error:
            self._refused(error.error)
            return
        if translation.streams:
            self._response.send_piece(last)
            self._response.send_last_chunk()
            self._end(keep_alive=True)
        else:
            self._whole(200, last, translation.content_type)

    def _whole(self, status: int, body: bytes, content_type: bytes) -> None:
        """Send a whole answer."""
        self._response.send_whole(status, body, content_type)
        self._end(keep_alive=True)

    def _refused(self, error: dict[str, Any]) -> None:
        """Pass the engine's own error on, in OpenAI's shape and with a status that fits."""
        status, body = client_error(self._response.status, error)
        self._record.error = str(body.get("message"))[:500]
        if self._response.begun:
            self._break_off({"error": body})
        else:
            shaped = self._request.error_body({"error": body}, status)
            self._whole(status, shaped, b"application/json")

    async def _explain(self, reason: str) -> None:
        """Fail with the reason why the engine hung up: its exit, if it has ended."""
        assert self._lease is not None
        self._revoked(await explained(self._lease.runner, reason))

    def _revoked(self, failure: BackendFailure) -> None:
        """The runner is gone, or will be: fail, and remember what it was working on."""
        assert self._lease is not None
        plan = self._plan
        self._context.quarantine.accuse(self._lease.generation, plan.key, plan.body, failure)
        self._fail(failure)

    def _fail(self, error: RunnerdError) -> None:
        """End with an error: as a status if nothing was sent yet, else inside the stream."""
        self._record.error = error.message[:500]
        if not self._response.wanted:
            self._end(keep_alive=False)
        elif not self._response.begun:
            self._response.send_error(error)
            self._end(keep_alive=True)
        else:
            self._break_off(error.body())

    def _break_off(self, document: dict[str, Any]) -> None:
        """End an answer that has begun: with an error event where it is a stream.

        After one that ends as it should the connection goes on.
        """
        told = (self._response.pinged or self._plan.streams) and self._whole_chunks
        if told:
            self._response.send_error_event(document)
        self._end(keep_alive=told and self._response.chunked)

    def _end(self, *, keep_alive: bool) -> None:
        self._release()
        self._response.done(keep_alive=keep_alive)

    def _release(self) -> None:
        """Let go of engine, timer and lease; idempotent."""
        self._over = True
        if self._record.duration is None:
            self._record.duration = time.monotonic() - self._record.clock
        self._context.watch.remove(self)
        self._response.stop_heartbeat()
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()
        if self._lease is not None:
            self._lease.release()
        elif self._ticket is not None:
            self._context.supervisor.leave(self._ticket)
