"""A request on its way to an engine: sent once more, held back, ended where that can be told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from runnerd.errors import Overloaded, RunnerdError, UpstreamTimeout
from runnerd.limit_settings import Limits
from runnerd.relay.engine_call import EngineCall
from runnerd.relay.engine_request import EngineRequest
from runnerd.relay.response_receiver import Loss


class Host:
    """The exchange, the pools and both watches of one request; it notes what they are told."""

    def __init__(self, *refusals: Exception) -> None:
        self.told: list[str] = []
        self.errors: list[RunnerdError | OSError] = []
        self.refusals = list(refusals)
        self.between_chunks = True
        self.request: EngineRequest = EngineCall(
            cast(Any, self),
            cast(Any, SimpleNamespace(endpoint="e")),
            cast(Any, SimpleNamespace(key="k", message=lambda id: (), assembles=False)),
            cast(Any, SimpleNamespace(unread_bytes=lambda: 7)),
            cast(Any, SimpleNamespace(id="id")),
            cast(Any, SimpleNamespace(pools=self, watch=self, unread=self, limits=Limits())),
        )

    # the exchange

    def go_on(self, steps: object) -> None:
        self.told.append("goes on in a task")

    def fail(self, error: RunnerdError) -> None:
        self.errors.append(error)

    def unreached(self, error: OSError) -> None:
        self.errors.append(error)

    def hung_up(self, reason: str) -> None:
        self.told.append(f"hung up: {reason}")

    # the pool, and the connection

    def of(self, endpoint: str) -> Host:
        return self

    def ask(self, receiver: object, message: object, *, fresh: bool, at_the_end: bool) -> Host:
        if self.refusals:
            raise self.refusals.pop(0)
        self.told.append("asked afresh" if fresh else "asked")
        return self

    @property
    def is_between_chunks(self) -> bool:
        return self.between_chunks

    def pause(self) -> None:
        self.told.append("paused")

    def resume(self) -> None:
        self.told.append("resumed")

    def close(self) -> None:
        self.told.append("closed")

    # both watches

    def add(self, client: object) -> None: ...
    def remove(self, client: object) -> None: ...


def test_what_no_engine_can_have_seen_is_asked_once_more() -> None:
    """On a connection of its own; a second time it has failed."""
    host = Host()
    host.request.ask()
    host.request.engine_lost(Loss("gone", unseen=True))
    assert (host.told, host.errors) == (["asked", "asked afresh"], [])
    host.request.engine_lost(Loss("gone", unseen=True))
    assert (host.told, len(host.errors)) == (["asked", "asked afresh"], 1)


def test_an_engine_that_hangs_up_is_told_as_that() -> None:
    """It may have ended itself, which the exchange finds out."""
    host = Host()
    host.request.ask()
    host.request.engine_lost(Loss("it closed the connection", hung_up=True))
    assert (host.told[-1], host.errors) == ("hung up: it closed the connection", [])


@pytest.mark.parametrize("refusal", [OSError("nobody listens"), Overloaded("enough to do")])
def test_what_cannot_be_sent_has_failed(refusal: Exception) -> None:
    """The exchange is told why."""
    host = Host(refusal)
    host.request.ask()
    assert (host.told, host.errors) == ([], [refusal])


def test_an_engine_without_room_is_asked_in_a_task() -> None:
    """It takes waiting until it has room for a connection."""
    host = Host(BlockingIOError())
    host.request.ask()
    assert (host.told, host.errors) == (["goes on in a task"], [])


def test_who_was_told_to_wait_is_not_silent() -> None:
    """Only an engine that may speak is given up."""
    host = Host()
    host.request.ask()
    host.request.pause()
    host.request.silent()
    assert host.errors == []
    host.request.resume()
    host.request.silent()
    assert isinstance(host.errors[0], UpstreamTimeout)
    assert host.told == ["asked", "paused", "resumed"]


def test_a_request_that_was_paused_before_it_was_sent_is_paused() -> None:
    """The connection is told, whenever there is one."""
    host = Host()
    host.request.pause()
    host.request.ask()
    assert host.told == ["asked", "paused"]


def test_an_unread_stream_ends_behind_a_chunk() -> None:
    """Not inside of one, where its client could not read the reason."""
    host = Host()
    host.request.ask()
    host.between_chunks = False
    host.request.give_up()
    assert host.errors == []
    host.between_chunks = True
    host.request.give_up()
    assert isinstance(host.errors[0], Overloaded)
    assert host.request.unread_bytes() == 7


def test_closing_lets_go_of_the_engine_once() -> None:
    """And nothing is sent afterwards."""
    host = Host()
    host.request.ask()
    host.request.close()
    host.request.close()
    host.request.ask()
    assert host.told == ["asked", "closed"]
