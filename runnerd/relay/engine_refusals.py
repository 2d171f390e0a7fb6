"""What becomes of a request that an engine has refused: it is asked in other words, or ended."""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

from runnerd import threads
from runnerd.relay.aside import TakesLonger
from runnerd.relay.asking_exchange import AskingExchange
from runnerd.relay.engine_errors import EngineRefusal
from runnerd.relay.events import EVENT_STREAM, written
from runnerd.relay.plan import Plan
from runnerd.relay.response_adapters.unparsed_end import UnparsedEnd, is_unparsed
from runnerd.relay.response_parser import ResponseHead

_CUT = ResponseHead(200, EVENT_STREAM, None, chunked=True, keeps=False)


class RefusedCall(Protocol):
    """The call whose request was refused.

    `plan` is what was asked, `status` the engine's, `closed` says that nobody waits any more.
    """

    exchange: AskingExchange
    plan: Plan
    status: int
    closed: bool

    def ask(self) -> None:
        """Send what `plan` says."""
        ...

    def engine_head(self, head: ResponseHead) -> bool:
        """Take the head of a response."""
        ...

    def engine_body(self, data: bytes) -> None:
        """Take a piece of its body."""
        ...

    def engine_done(self) -> None:
        """Take it that the response is complete."""
        ...


def refuse(call: RefusedCall, error: dict[str, Any], *, refused: bool) -> None:
    """Ask in other words what the engine has refused, or end with its own error."""
    plan = call.plan
    try:
        if refused and plan.is_large:
            raise TakesLonger
        other = plan.otherwise(error) if refused else None
    except TakesLonger:
        call.exchange.go_on(partial(_ask_otherwise, call, plan, error))
    else:
        _ask_instead(call, other, error, refused=refused)


async def _ask_otherwise(call: RefusedCall, plan: Plan, error: dict[str, Any]) -> None:
    """Put a large request into other words in a thread."""
    other = await threads.run(plan.otherwise, error)
    _ask_instead(call, other, error, refused=True)


def _ask_instead(
    call: RefusedCall, other: Plan | None, error: dict[str, Any], *, refused: bool
) -> None:
    """Go on with what is asked instead of what the engine has refused, if anything is."""
    if call.closed:
        return
    if other is not None:
        call.plan = other
        call.ask()
    elif refused and is_unparsed(error) and isinstance(call.plan.translation, UnparsedEnd):
        _end_unparsed(call, error)
    else:
        call.exchange.fail(EngineRefusal(call.status, error))


def _end_unparsed(call: RefusedCall, error: dict[str, Any]) -> None:
    """Let a response of which the engine has nothing but this error be one that was cut."""
    call.engine_head(_CUT)
    call.engine_body(written({"error": error}))
    call.engine_done()
