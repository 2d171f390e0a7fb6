"""What a session's runner is given back before it is asked, and what is noted of it after."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runnerd.access import NOBODY
from runnerd.backends.configuration import BackendMode
from runnerd.errors import BackendFailure
from runnerd.limit_settings import Limits
from runnerd.relay.collected_response import CollectedResponse
from runnerd.relay.exchange import Exchange
from runnerd.relay.exchange_context import ExchangeContext
from runnerd.relay.operations import OPERATIONS
from runnerd.relay.plan import Plan
from runnerd.relay.pool import EnginePools
from runnerd.relay.quarantine import Quarantine
from runnerd.relay.records import RequestRecord
from runnerd.relay.session_recall import must_recall, note_use
from runnerd.relay.stall_timeouts import StallTimeouts
from runnerd.relay.unread_streams import UnreadStreams
from runnerd.scheduler import RunnerKey
from runnerd.sockets.peer import Endpoint
from tests.support.supervisors import NoRunners

KEY = RunnerKey("llama.cpp", "load", BackendMode.COMPLETION, "")


class States:
    """One session whose state a runner gets only while somebody asks for it; writes down what it is
    told.
    """

    def __init__(self) -> None:
        self.told: list[object] = []
        self.followed = False
        self.given_back = asyncio.Event()

    @property
    def lives(self) -> States:
        return self

    def __contains__(self, runner: Any) -> bool:
        return self.followed

    def awaits(self, runner: Any, session: str) -> bool:
        self.told.append(("awaits", runner.name))
        return True

    def asked(self, runner: Any, session: str, body: Any) -> None:
        self.told.append(("asked", runner.name, session))

    def served(self, runner: Any, name: str, tokens: int) -> None:
        self.told.append(("served", runner.name, name, tokens))

    async def recall(self, runner: Any, session: str) -> None:
        self.told.append(("recall", runner.name, session))
        await self.given_back.wait()


class Runners(NoRunners):
    """Two runners, one after the other, whose engines nobody can reach."""

    def __init__(self, states: States) -> None:
        self.session_states = states
        self.leases: list[str] = []
        self.released: list[str] = []

    def lease_at_once(self, key: RunnerKey, **more: object) -> Any:
        name = f"runner-{len(self.leases) + 1}"
        self.leases.append(name)
        runner = SimpleNamespace(
            name=name,
            endpoint=Endpoint("/nonexistent/e.sock"),
            lose=lambda reason: None,
            wait_ended=ended,
        )
        return SimpleNamespace(
            runner=runner,
            generation=len(self.leases),
            recalls=False,
            key=KEY,
            release=lambda: self.released.append(name),
        )

    async def lease(self, key: RunnerKey, model_ref: str, **more: object) -> Any:
        return self.lease_at_once(key)


async def ended() -> None:
    """Of an engine that nobody knows the end of."""


def plan(session: str) -> Plan:
    return Plan(
        OPERATIONS["tokenize"], KEY, "id", "model", (b'{"content":"x"}',), False, False, 1, False,
        None, session=session,
    )  # fmt: skip


def record() -> RequestRecord:
    return RequestRecord(
        id="request", model="", operation="", origin=None, user_agent=None, streamed=False,
        bytes_in=0, principal="",
    )  # fmt: skip


def exchange_of(supervisor: Runners, sink: CollectedResponse) -> Exchange:
    context = ExchangeContext(
        cast(Any, supervisor), Limits(), EnginePools(1), StallTimeouts(1.0),
        UnreadStreams(lambda key: 0), Quarantine(), lambda principal, record: None,
        lambda principal, plan: None,
    )  # fmt: skip
    return Exchange(sink, plan("talk"), record(), context, principal=NOBODY)


@pytest.fixture
def states() -> States:
    return States()


async def settled(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not reached():
            await asyncio.sleep(0)


async def test_a_session_is_recalled_before_it_is_asked_on_each_runner(states: States) -> None:
    """Once for each: the successor of a runner that nobody reaches has to be given it, too."""
    supervisor, sink = Runners(states), CollectedResponse(1000)
    exchange = exchange_of(supervisor, sink)
    exchange.start()
    await settled(lambda: ("recall", "runner-1", "talk") in states.told)
    assert states.told == [("awaits", "runner-1"), ("recall", "runner-1", "talk")]
    states.given_back.set()
    with pytest.raises(BackendFailure):
        await sink.result()
    assert states.told == [
        (what, name, *session)
        for name in ("runner-1", "runner-2")
        for what, session in (("awaits", ()), ("recall", ("talk",)), ("asked", ("talk",)))
    ]
    assert supervisor.released == ["runner-1", "runner-2"]


async def test_who_leaves_while_a_session_is_recalled_asks_nothing(states: States) -> None:
    """The runner is given back, whatever becomes of the state."""
    supervisor = Runners(states)
    exchange = exchange_of(supervisor, CollectedResponse(1000))
    exchange.start()
    await settled(lambda: len(states.told) == 2)
    exchange.cancel()
    states.given_back.set()
    await settled(lambda: len(asyncio.all_tasks()) == 1)
    assert supervisor.released == ["runner-1"]
    assert ("asked", "runner-1", "talk") not in states.told


def test_a_runner_without_sessions_is_asked_at_once(states: States) -> None:
    """Nor is it looked for what it might await; one that follows sessions may have to save some."""
    runner = cast(Any, SimpleNamespace(name="runner"))
    assert not must_recall(states, runner, plan(""))
    assert states.told == []
    states.followed = True
    assert must_recall(states, runner, plan(""))


def test_what_was_evaluated_is_noted_where_sessions_are(states: States) -> None:
    """A request outside of sessions counts as a conversation of its own."""
    runner = cast(Any, SimpleNamespace(name="runner"))
    counted = record()
    note_use(states, runner, plan("talk"), counted)
    states.followed = True
    note_use(states, runner, plan("talk"), counted)  # its engine has told nothing
    assert states.told == []
    counted.counts = cast(Any, b'"usage":{"prompt_tokens":3,"completion_tokens":4}')
    note_use(states, runner, plan("talk"), counted)
    note_use(states, runner, plan(""), counted)
    assert states.told == [("served", "runner", "talk", 7), ("served", "runner", "request", 7)]
