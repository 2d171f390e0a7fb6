"""The life of one inference, without a runner: what ends with it."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runnerd.access import NOBODY, Principal
from runnerd.errors import Unauthorized
from runnerd.limit_settings import Limits
from runnerd.relay.collected_response import CollectedResponse
from runnerd.relay.exchange import Exchange
from runnerd.relay.exchange_context import ExchangeContext
from runnerd.relay.intake import PendingPlan
from runnerd.relay.operations import OPERATIONS
from runnerd.relay.plan import NO_PLAN, Plan
from runnerd.relay.pool import EnginePools
from runnerd.relay.quarantine import Quarantine
from runnerd.relay.records import RequestRecord
from runnerd.relay.stall_timeouts import StallTimeouts
from runnerd.relay.unread_streams import UnreadStreams
from runnerd.scheduler import RunnerKey


def refuse(principal: Principal, plan: Plan | None) -> None:
    raise Unauthorized("the key is not valid any more")


def exchange_of(sink: CollectedResponse, plan: Any, supervisor: Any = None) -> Exchange:
    context = ExchangeContext(
        supervisor, Limits(), EnginePools(1), StallTimeouts(1.0), UnreadStreams(lambda key: 0),
        Quarantine(), lambda principal, record: None, refuse,
    )  # fmt: skip
    record = RequestRecord(
        id="id", model="", operation="", origin=None, user_agent=None, streamed=False, bytes_in=0,
        principal="",
    )  # fmt: skip
    if isinstance(plan, PendingPlan):
        return Exchange(sink, NO_PLAN, record, context, principal=NOBODY, pending=plan)
    return Exchange(sink, plan, record, context, principal=NOBODY)


async def test_who_may_not_ask_any_more_waits_for_nothing() -> None:
    """It is told so at once, and what it has waited for, a pull perhaps, is waited for no more."""
    begun, left = asyncio.Event(), asyncio.Event()

    async def wait() -> Plan:
        begun.set()
        with contextlib.ExitStack() as stack:
            stack.callback(left.set)
            await asyncio.Event().wait()
        raise AssertionError

    sink = CollectedResponse(1000)
    exchange = exchange_of(sink, PendingPlan(True, wait))
    exchange.start()
    await begun.wait()
    exchange.enforce(NOBODY)
    with pytest.raises(Unauthorized):
        await sink.result()
    async with asyncio.timeout(10):
        await left.wait()


@pytest.mark.parametrize(
    ("operation", "loads", "shows"),
    [
        ("chat/completions", False, True),
        ("embeddings", False, True),
        ("chat/completions", True, False),
        ("tokenize", False, False),
        ("messages/count_tokens", False, False),
    ],
)
async def test_what_shows_that_an_engine_works(operation: str, loads: bool, shows: bool) -> None:
    """A response that it has computed; not one of the daemon's own, nor one that the threads of its
    HTTP server have: an engine hangs all the same.
    """
    plan = Plan(
        OPERATIONS[operation], RunnerKey("", "", "", ""), "", "", (), False, False, 1, loads, None
    )
    runner = SimpleNamespace(responded=False)
    states = SimpleNamespace(lives=())
    sink = CollectedResponse(1000)
    exchange = exchange_of(sink, plan, SimpleNamespace(session_states=states))
    exchange._lease = cast(Any, SimpleNamespace(runner=runner, release=lambda: None))
    exchange.respond(b"{}", b"application/json")
    assert (await sink.result()).body == b"{}"
    assert runner.responded is shows
