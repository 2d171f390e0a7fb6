"""The queue of requests that have ended, and what becomes of them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

import pytest

from runnerd import tasks
from runnerd.observability.trace_context import TracedRequest
from runnerd.observability.traces import Traces, open_traces
from runnerd.relay.records import RequestRecord
from tests.support.waiting import until


def record(id: str) -> RequestRecord:
    return RequestRecord(id, "m", "chat/completions", None, None, True, 1)


class Recording:
    """A sender that takes what it gets, or does not, or cannot; `gate` holds it."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.calls = 0
        self.taking = True
        self.broken = False
        self.gate = threading.Event()
        self.gate.set()
        self.closed = False

    def send(self, requests: Sequence[TracedRequest]) -> bool:
        self.calls += 1
        self.gate.wait()
        if self.broken:
            raise ValueError("broken")
        if self.taking:
            self.ids += [request.id for request in requests]
        return self.taking

    def close(self) -> None:
        self.closed = True
        self.gate.set()


async def test_all_are_sent_in_order() -> None:
    """Also what is left at the end."""
    sender = Recording()
    traces = Traces(sender, every=0.001)
    traces.start()
    for number in range(600):
        traces.ended(record(str(number)))
        if number == 300:
            await until(lambda: sender.ids)
    await traces.close()
    assert sender.ids == [str(number) for number in range(600)]
    assert sender.closed
    assert (await traces.figures()).values == {
        ("sent",): 600.0, ("dropped",): 0.0, ("failed",): 0.0,
    }  # fmt: skip


async def test_the_oldest_makes_room() -> None:
    """What a collector does not take in time is counted, and the newest are kept."""
    sender = Recording()
    sender.gate.clear()
    traces = Traces(sender, waiting=10, every=0.001)
    traces.start()
    traces.ended(record("first"))
    await until(lambda: sender.calls)
    for number in range(25):
        traces.ended(record(str(number)))
    assert traces.dropped == 15
    sender.gate.set()
    await traces.close()
    assert sender.ids == ["first", *(str(number) for number in range(15, 25))]


async def test_a_dead_collector_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """And once more when it is back."""
    caplog.set_level(logging.INFO)
    sender = Recording()
    sender.taking = False
    traces = Traces(sender, every=0.001, after_failure=0.001)
    traces.start()
    for number in range(3):
        traces.ended(record(str(number)))
        await until(lambda: traces.failed > number)  # noqa: B023
    sender.taking = True
    traces.ended(record("again"))
    await until(lambda: traces.sent)
    await traces.close()
    assert [each.getMessage() for each in caplog.records if "runnerd" in each.name] == [
        "the collector takes no traces; they are dropped until it does",
        "the collector takes traces again; 3 requests are missing",
    ]


async def test_what_cannot_be_made_does_not_end_it(caplog: pytest.LogCaptureFixture) -> None:
    """The thread goes on, and the log has why."""
    sender = Recording()
    sender.broken = True
    traces = Traces(sender, every=0.001, after_failure=0.001)
    traces.start()
    traces.ended(record("bad"))
    await until(lambda: traces.failed)
    sender.broken = False
    traces.ended(record("good"))
    await until(lambda: traces.sent)
    await traces.close()
    assert sender.ids == ["good"]
    assert "spans could not be made" in caplog.text


async def test_a_collector_that_hangs_does_not_hold_the_end() -> None:
    """It is given up, and the event loop goes on meanwhile."""
    sender = Recording()
    sender.gate.clear()
    traces = Traces(sender, every=0.001)
    traces.start()
    traces.ended(record("held"))
    await until(lambda: sender.calls)
    closing = tasks.spawn(traces.close(), name="close")
    await until(lambda: sender.closed)
    await closing


async def test_none_without_an_endpoint() -> None:
    assert await open_traces("", server=("h", 1), name_of=str) is None
