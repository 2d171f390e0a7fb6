"""The life of one inference, without a runner: what ends with it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, cast

import pytest

from runnerd.access import NOBODY, Principal
from runnerd.errors import Unauthorized
from runnerd.limit_settings import Limits
from runnerd.relay.collected_response import CollectedResponse
from runnerd.relay.exchange import Exchange
from runnerd.relay.exchange_context import ExchangeContext
from runnerd.relay.intake import PendingPlan
from runnerd.relay.plan import Plan
from runnerd.relay.pool import EnginePools
from runnerd.relay.quarantine import Quarantine
from runnerd.relay.records import RequestRecord
from runnerd.relay.stall_timeouts import StallTimeouts
from runnerd.relay.unread_streams import UnreadStreams


def refuse(principal: Principal, plan: Plan | None) -> None:
    raise Unauthorized("the key is not valid any more")


async def test_who_may_not_ask_any_more_waits_for_nothing() -> None:
    """It is told so at once, and what it has waited for, a pull perhaps, is waited for no more."""
    begun, left = asyncio.Event(), asyncio.Event()

    async def wait() -> Plan:
        begun.set()
        with contextlib.ExitStack() as stack:
            stack.callback(left.set)
            await asyncio.Event().wait()
        raise AssertionError

    limits = Limits()
    context = ExchangeContext(
        cast(Any, None), limits, EnginePools(1), StallTimeouts(1.0), UnreadStreams(lambda key: 0),
        Quarantine(), lambda principal, record: None, refuse,
    )  # fmt: skip
    record = RequestRecord(
        id="id", model="", operation="", origin=None, user_agent=None, streamed=False, bytes_in=0,
        principal="",
    )  # fmt: skip
    sink = CollectedResponse(1000)
    exchange = Exchange(sink, PendingPlan(True, wait), record, context, principal=NOBODY)
    exchange.start()
    await begun.wait()
    exchange.enforce(NOBODY)
    with pytest.raises(Unauthorized):
        await sink.result()
    async with asyncio.timeout(10):
        await left.wait()
