"""One request at one engine: asked until its response is complete, or until it will not be.

The engine's bytes go through a `Translation` to the exchange's sink as they come.  A request that
the engine refuses is asked in other words where there are any (`engine_refusals`).
"""

from __future__ import annotations

import time
from functools import partial

from runnerd.errors import RunnerdError
from runnerd.relay import usage
from runnerd.relay.dialect import AskedAgain, BeforeEnd
from runnerd.relay.engine_refusals import refuse
from runnerd.relay.engine_request import EngineRequest
from runnerd.relay.events import StreamError, UnwantedResponse
from runnerd.relay.records import RequestRecord
from runnerd.relay.response_adapters.assembly import check_bytes
from runnerd.relay.response_parser import ResponseHead
from runnerd.relay.translations import PASSED, ErrorBody, Renamed, of_stream


class EngineCall(EngineRequest):
    """A request and its way back: what the engine sends goes to the sink (a RefusedCall)."""

    def engine_head(self, head: ResponseHead) -> bool:
        self.heard = True
        plan, record = self.plan, self._record
        record.first_byte = time.monotonic() - record.clock
        self.status = head.status
        if head.status >= 400:
            self._translation = ErrorBody()
            return False
        translation, name = plan.translation, self._runner.spec.model_ref
        if name != plan.model_ref and not plan.assembles:
            # An engine knows its model by its first client's word; others get their own.
            translation = Renamed(translation, name, plan.model_ref)
        self._translation = translation
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
            self.exchange.fail(error)
            return False
        record.status = head.status
        return framed

    def engine_body(self, data: bytes) -> None:
        self.heard = True
        counts = usage.excerpt(data)
        if counts is not None:
            self._record.counts = usage.joined(self._record.counts, counts)
        translation = self._translation
        if translation is not PASSED:
            try:
                if not translation.streams:
                    self._held += len(data)
                    check_bytes(self._held)
                data = of_stream(translation.feed, data)
            except StreamError as error:
                if self.status >= 400:  # of an error enough was read; what follows may have no end
                    self._let_go()
                refuse(self, error.error, refused=self.status >= 400)
                return
            except AskedAgain:
                self._ask_the_second()
                return
        if data:
            self._record.bytes_out += len(data)
            self._last = data
            self._sink.piece(data)
            if self._asked_again:
                _count(self._record, data)
            if self._ending:
                self._end_here(len(data))

    def engine_done(self) -> None:
        self._engine = None
        if self.closed:
            return  # the last piece has ended it
        work = self.plan.before_end
        if work is not None and self.status < 400 and not self._prepared:
            self._prepared = True
            self.exchange.go_on(partial(_end_after, self, work))
            return
        translation = self._translation
        try:
            last = b"" if translation is PASSED else of_stream(translation.end)
        except StreamError as error:
            unwanted = isinstance(error, UnwantedResponse)
            refuse(self, error.error, refused=unwanted or self.status >= 400)
            return
        except AskedAgain:
            self._ask_the_second()
            return
        if self._asked_again:
            _count(self._record, last)
        if not translation.streams:
            self.exchange.respond(last, translation.content_type)
            return
        if last:
            self._record.bytes_out += len(last)
            self._sink.piece(last)
        self.exchange.completed()

    def _let_go(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def _ask_the_second(self) -> None:
        """Let go of what the engine is about to say, and ask what the plan has for this case."""
        assert self.plan.again is not None
        self._let_go()
        self.plan = self.plan.again
        self._asked_again = True
        self.status = 0
        self.ask()


def _count(record: RequestRecord, data: bytes) -> None:
    """Note what several requests to the engine took together, as it is told to the client."""
    record.counts = usage.excerpt(data) or record.counts


async def _end_after(call: EngineCall, work: BeforeEnd) -> None:
    """Let a response end once `work` is done."""
    await work()
    call.engine_done()
