"""What an inference request asks for, once it has passed every check."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from runnerd.access import Action
from runnerd.errors import LimitReached
from runnerd.relay.affinity import Affinity
from runnerd.relay.body import UNDECODABLE
from runnerd.relay.body_scan import LARGE
from runnerd.relay.dialect import BeforeEnd, Retry, Translation
from runnerd.relay.engine import Buffer
from runnerd.relay.events import EVENT_STREAM
from runnerd.relay.known_model import UNKNOWN, KnownModel
from runnerd.relay.operations import OPERATIONS, Operation
from runnerd.relay.records import LOAD, RequestRecord
from runnerd.relay.request_rewrites.context_limit import within_context
from runnerd.relay.request_rewrites.retry_rewrites import rewritten
from runnerd.relay.request_validation import JUDGED_ALWAYS, validate_request
from runnerd.relay.response_adapters.rounds import Rounds, bodies, slots_of
from runnerd.relay.token_time import TokenTime
from runnerd.relay.translations import PASSED
from runnerd.scheduler import RunnerKey


class Plan(msgspec.Struct, frozen=True, gc=False):
    """An inference request that has passed every check.  A struct: one is made per request."""

    operation: Operation
    key: RunnerKey
    model: str  # its id; the key names only what is loaded
    model_ref: str
    body: tuple[Buffer, ...]
    streams: bool
    assembles: bool
    prompts: int
    preload_only: bool
    origin: str | None
    translation: Translation = PASSED
    keep_alive: float | None = None
    immediate: bytes | None = None
    unloads: bool = False
    affinity: Affinity = ()
    known: KnownModel = UNKNOWN
    token_time: TokenTime | None = None  # of the runner that answers, to be told of it
    retry_with: Retry | None = None
    warnings: tuple[str, ...] = ()
    again: Plan | None = None  # what is asked where the translation raises AskedAgain
    priority: int = 0
    before_end: BeforeEnd | None = None
    session: str = ""  # that it goes on with
    long: bool = True  # it may take long, by what it asks for

    @property
    def action(self) -> Action:
        """What who asks must be allowed to do."""
        if self.unloads:
            return Action.UNLOAD_MODEL
        return Action.LOAD_MODEL if self.preload_only else self.operation.action

    @property
    def recorded_as(self) -> str:
        """What records and metrics call it: what was asked, or that a model was only loaded."""
        if self.unloads:
            return "unload"
        loads = self.preload_only or self.immediate is not None
        return LOAD if loads else self.operation.name

    @property
    def is_large(self) -> bool:
        """Whether to look at its body takes longer than the event loop can spare."""
        return sum(map(len, self.body)) > LARGE

    @property
    def is_judged_here(self) -> bool:
        """Whether a request is held against what no engine takes also where one is ready."""
        return self.operation.name in JUDGED_ALWAYS

    def validate_request(self) -> None:
        """Refuse what no engine would take, before one is started for it.

        Raises errors.ClientError.
        """
        if not self.preload_only and self.immediate is None:
            body = b"".join(self.body)
            validate_request(self.operation.name, body, self.known)

    def message(self, id: str) -> Sequence[Buffer]:
        """Return the request as the engine gets it: a fresh minimal head with the id that its
        client knows, and the body.  llama-cpp-python's server refuses an `X-Request-Id` that is
        no UUID.

        An engine closes the connection after a stream.  Where a whole response is put together from
        one it is asked to close it after an error too, so that only the end has to be waited for.
        """
        lines = b"Connection: close\r\n" if self.assembles else b""
        if self.origin is not None:
            lines += b"X-Request-Origin: %s\r\n" % self.origin.encode()
        head = (
            b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"X-Correlation-Id: %s\r\n%sContent-Length: %d\r\n\r\n"
            % (self.operation.engine_path, id.encode(), lines, sum(map(len, self.body)))
        )
        return (head, *self.body)

    def limited(self, context: int) -> Plan:
        """The plan with no more tokens for request and response than `context`, whatever is asked
        in the end.

        Raises errors.LimitReached.
        """
        path = self.operation.engine_path
        body = within_context(self.body, path, context)
        again = None if self.again is None else self.again.limited(context)
        retry = None if self.retry_with is None else _limited(self.retry_with, path, context)
        return msgspec.structs.replace(self, body=body, again=again, retry_with=retry)

    def note_time(self, record: RequestRecord) -> None:
        """A response is complete: note how long a whole one took its engine."""
        if self.token_time is not None and not self.streams and record.waited is not None:
            seconds = time.monotonic() - record.clock - record.waited
            self.token_time.responded(seconds, record.counts)

    @property
    def sends_events(self) -> bool:
        """Whether the response is a stream of events, among which a comment says nothing."""
        return self.streams and self.translation.content_type in (b"", EVENT_STREAM)

    def otherwise(self, error: dict[str, Any]) -> Plan | None:
        """The plan of what may be asked instead of what the engine refused, if anything.

        A body that cannot be read here is not put into other words: the engine's refusal stands.
        """
        try:
            return self._otherwise(error)
        except UNDECODABLE:
            return None

    def _otherwise(self, error: dict[str, Any]) -> Plan | None:
        if self.retry_with is not None and (body := self.retry_with(error)) is not None:
            return msgspec.structs.replace(self, body=(body,))
        if self.again is None and (at_once := slots_of(error)):
            if (rounds := self._in_rounds(at_once)) is not None:
                return rounds
        other = rewritten(self.body, error)
        return None if other is None else msgspec.structs.replace(self, body=other)

    def _in_rounds(self, at_once: int) -> Plan | None:
        """The plan that asks for no more responses than `at_once`, and then for the others; None
        where that is no way to have them.
        """
        found = list(bodies(b"".join(self.body), at_once))
        if not found:
            return None
        rounds = Rounds(self.translation, [size for size, _ in found], streams=self.streams)
        plan: Plan | None = None
        for _, body in reversed(found):
            plan = msgspec.structs.replace(self, body=(body,), translation=rounds, again=plan)
        return plan


NO_PLAN = Plan(
    OPERATIONS["embeddings"], RunnerKey("", "", "", ""), "", "", (), False, False, 1, False, None
)
"""Stands for the plan of a request that has to wait for it."""


def _limited(retry: Retry, engine_path: bytes, context: int) -> Retry:
    """What else is asked, within a limit; nothing where that leaves no token for a response."""

    def within_limit(error: dict[str, Any]) -> bytes | None:
        body = retry(error)
        try:
            return body and b"".join(within_context((body,), engine_path, context))
        except LimitReached:
            return None

    return within_limit
