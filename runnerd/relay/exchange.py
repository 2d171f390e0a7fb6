"""The life of one inference: waiting, asking, answering, ended.

    phase       what happens                                       when it is cancelled
    waiting     a model is pulled, its images are transcoded       the pull goes on
                a runner is leased, perhaps loaded first           the queue entry goes
    asking      the engine has the request                         the engine's connection is cut
    answering   bytes flow, with flow control both ways            the engine's connection is cut

It knows no HTTP: the response goes to a `ResponseSink`.  `runner_wait` waits for a runner,
`engine_call` asks its engine.  When a runner is ready all of this happens in callbacks; a task
exists only while something is waited for.  However it ends, the lease is released once and the
record is completed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial

import msgspec

from runnerd.access import Principal
from runnerd.errors import BackendFailure, InternalError, RunnerdError
from runnerd.relay.background import Steps, take_steps
from runnerd.relay.connect_retry import abandon, reach
from runnerd.relay.engine_call import EngineCall
from runnerd.relay.engine_errors import EngineRefusal, explained
from runnerd.relay.exchange_context import ExchangeContext
from runnerd.relay.intake import PendingPlan
from runnerd.relay.plan import Plan
from runnerd.relay.records import LEFT, RequestRecord
from runnerd.relay.response_sink import ResponseSink
from runnerd.relay.runner_wait import RunnerWait
from runnerd.relay.session_recall import must_recall, note_use
from runnerd.relay.user_accounts import CountedRequest
from runnerd.scheduler import BACKGROUND
from runnerd.supervisor import Lease

log = logging.getLogger(__name__)

_JSON = b"application/json"


class Exchange(msgspec.Struct, eq=False):
    """Owns one request from `start` until its sink has the response or it was cancelled.

    `principal` is who asks, `counted` what it counts for with that one's limits, `pending` what has
    to be waited for before there is a plan.  A struct: one is made per request.
    """

    _sink: ResponseSink
    _plan: Plan
    record: RequestRecord
    _context: ExchangeContext
    principal: Principal
    counted: CountedRequest | None = None
    pending: PendingPlan | None = None
    _wait: RunnerWait | None = None
    _lease: Lease | None = None
    _call: EngineCall | None = None
    _task: asyncio.Task[None] | None = None
    _over: bool = False
    _paused: bool = False
    _moved: bool = False  # to another runner

    # the sink's side

    def start(self) -> None:
        """Ask a runner at once, or go and wait for one; returns at once."""
        self._context.running.add(self)
        if self.pending is not None:
            self.go_on(partial(self._arrive, self.pending))
            return
        plan, supervisor = self._plan, self._context.supervisor
        if plan.unloads:
            self.go_on(partial(_unload, self, plan, self._context))
            return
        lease = supervisor.lease_at_once(
            plan.key,
            holder=self,
            principal=self.principal,
            keep_alive=plan.keep_alive,
            affinity=plan.affinity,
            background=plan.priority <= BACKGROUND,
            long=plan.long,
        )
        if lease is None:
            self._new_wait().stand_in_line()
        elif lease.recalls:
            self._new_wait().recall(lease)
        else:
            self.leased(lease)

    def cancel(self) -> None:
        """Nobody wants the response: leave the queue, or cut the engine off.  Idempotent.

        Who leaves behind the last event has got it.
        """
        call = self._call
        if call is not None and call.said_all:
            self._note_response(behind=call.behind)
        elif not self._over:
            if self._lease is not None and call is not None:
                plan = self._plan
                self._context.quarantine.left(self._lease.generation, plan.key, plan.body)
            self.record.error = self.record.error or LEFT
        self._sink.gone()
        self._release()
        task, self._task = self._task, None  # whose end holds on to its frames, and so to this
        _call_off(task)

    @property
    def begun(self) -> bool:
        """Whether something of the response was sent."""
        return self._sink.begun

    def flow(self, *, paused: bool) -> None:
        """Whoever gets the response does not keep up, and the engine waits; or does so again."""
        self._paused = paused
        if self._call is not None:
            if paused:
                self._call.pause()
            else:
                self._call.resume()

    def enforce(self, principal: Principal) -> None:
        """Fail where the principal, as it is taken for now, may not ask for this any more."""
        try:
            self._context.still_allowed(principal, self._plan if self.pending is None else None)
        except RunnerdError as error:
            self.fail(error)

    # waiting

    def go_on(self, steps: Steps) -> None:
        """Take steps in a task."""
        self._task = take_steps(steps, self.fail, self.record.id)

    def _new_wait(self) -> RunnerWait:
        self._wait = RunnerWait(
            self,
            self._plan,
            self._sink,
            self._context,
            principal=self.principal,
            id=self.record.id,
        )
        return self._wait

    async def _arrive(self, pending: PendingPlan) -> None:
        found: Plan | PendingPlan = pending
        while isinstance(found, PendingPlan):
            self._sink.waiting(streams=found.streams)
            found = await found.next()
        if self.counted is not None:
            counted = self.counted
            large = found.is_large
            found = await counted.reserve_aside(found) if large else counted.reserve(found)
        self._plan, self.pending = found, None
        plan = found
        self.record.model, self.record.streamed = plan.model, plan.streams
        self.record.operation = plan.recorded_as
        if not self._over:
            self.start()

    def leased(self, lease: Lease) -> None:
        """A runner is there."""
        self._wait, self._lease = None, lease
        record = self.record
        record.waited = time.monotonic() - record.clock
        record.runner = lease.runner.name
        self._sink.placed()
        self._ask(lease, recalled=False)

    def _ask(self, lease: Lease, *, recalled: bool) -> None:
        """Ask the engine; its runner is given what was kept of a session first, if that is not
        `recalled` yet.
        """
        plan, states = self._plan, self._context.supervisor.session_states
        try:
            if plan.preload_only or plan.immediate is not None:
                reach(lease)
                self.respond(plan.immediate or b"", _JSON)
            elif (
                (plan.session or lease.runner in states.lives)
                and not recalled
                and must_recall(states, lease.runner, plan)
            ):
                self.go_on(partial(self._recall, lease))
            else:
                if plan.session:
                    states.asked(lease.runner, plan.session, plan.body)
                self._call = call = EngineCall(
                    self, lease.runner, plan, self._sink, self.record, self._context
                )
                if self._paused:
                    call.pause()
                call.ask()
        except OSError as error:
            self.unreached(error)
        except Exception:  # who has given it back, and so called this, is not to blame
            log.exception("exchange %s failed", self.record.id)
            self.fail(InternalError())

    async def _recall(self, lease: Lease) -> None:
        await self._context.supervisor.session_states.recall(lease.runner, self._plan.session)
        if not self._over:
            self.record.waited = time.monotonic() - self.record.clock
            self._ask(lease, recalled=True)  # at once: its slot is another's soon

    def revoked(self, failure: BackendFailure) -> None:
        """The runner is gone, or will be: fail, and remember what it was working on."""
        if self._lease is not None and not self._over:
            plan = self._plan
            self._context.quarantine.accuse(self._lease.generation, plan.key, plan.body, failure)
            self.fail(failure)

    def heard_at(self) -> float:
        """When the engine last sent something that shows work."""
        return 0.0 if self._call is None else self._call.heard_at()

    # told by the call

    def unreached(self, error: OSError) -> None:
        """Nothing was sent: let another runner have it, once."""
        assert self._lease is not None
        if self._moved or not abandon(self._lease, error):
            self.hung_up(f"it does not accept connections ({error.strerror})")
            return
        self._call = self._lease = None
        self._moved = True
        self._new_wait().wait()

    def hung_up(self, reason: str) -> None:
        """Fail with the reason why the engine hung up: its exit, if it has ended."""
        assert self._lease is not None
        self.go_on(partial(_explain, self, self._lease, reason))

    # the end

    def completed(self) -> None:
        """The sink has all pieces of the response."""
        self._note_response(behind=self._call is not None and self._call.behind)
        self._release()
        self._sink.end()

    def respond(self, body: bytes, content_type: bytes) -> None:
        """End with a whole response."""
        self._note_response()
        self.record.status = 200
        self.record.bytes_out += len(body)
        self._release()
        self._sink.whole(200, content_type, body, self._plan.warnings)

    def _note_response(self, *, behind: bool = False) -> None:
        """Who computes a response to its end works, although no look may find it at work.  What the
        daemon says itself, what needs no working thread, and what waited for a client that was
        `behind`, shows nothing.
        """
        plan, lease = self._plan, self._lease
        if plan.token_time is not None:
            plan.note_time(self.record)
        if behind or lease is None or not plan.operation.computes:
            return
        if not plan.preload_only and plan.immediate is None:
            lease.runner.responded = lease.computed = True

    def fail(self, error: RunnerdError) -> None:
        """End with an error."""
        if self._over:
            return
        record = self.record
        record.error = error.message[:500]
        if error.status >= 500:
            _log_failure(record, error)
        if not self._sink.begun:
            record.status = error.status
        intact = self._call is None or self._call.intact
        warnings = self._plan.warnings if isinstance(error, EngineRefusal) else ()
        self._release()
        task, self._task = self._task, None  # whose end holds on to its frames, and so to this
        _call_off(task)
        self._sink.error(error, intact=intact, warnings=warnings)

    def _release(self) -> None:
        """Let go of engine, timer, queue and lease; idempotent."""
        self._over = True
        context, record, lease = self._context, self.record, self._lease
        context.running.discard(self)
        if not record.status and self._sink.begun:
            record.status = 200  # it has begun by saying that it waits
        if record.duration is None:
            record.duration = time.monotonic() - record.clock
            context.ended(self.principal, record)
        call, self._call = self._call, None
        if call is not None:
            call.close()
        wait, self._wait = self._wait, None
        if wait is not None:
            wait.leave()
        if lease is not None:
            states = context.supervisor.session_states
            if lease.runner in states.lives:
                note_use(states, lease.runner, self._plan, record)
            lease.release()
        counted, self.counted = self.counted, None
        if counted is not None:
            counted.ended(record)


def _call_off(task: asyncio.Task[None] | None) -> None:
    """Cancel the task that takes an exchange's steps, unless it is the one that ends it."""
    if task is not None and task is not asyncio.current_task():
        task.cancel()


def _log_failure(record: RequestRecord, error: RunnerdError) -> None:
    """What is not the client's mistake; many of one kind are one line."""
    about = {"request_id": record.id, "runner": record.runner, "model": record.model}
    if record.trace is not None:
        about["trace_id"] = record.trace.text
    said = " ".join(error.message.split())[:300]
    log.warning("a request failed: %d %s", error.status, said, extra=about)


async def _unload(exchange: Exchange, plan: Plan, context: ExchangeContext) -> None:
    await context.supervisor.unloading.unload(models={plan.model})
    exchange.respond(plan.immediate or b"", _JSON)


async def _explain(exchange: Exchange, lease: Lease, reason: str) -> None:
    """Fail with the reason why an engine hung up."""
    exchange.revoked(await explained(lease.runner, reason))
