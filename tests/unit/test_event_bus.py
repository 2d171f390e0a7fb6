"""Events are kept for a while and told in order; nothing about them can hold up who publishes."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from runnerd.errors import Overloaded
from runnerd.observability import event_bus
from runnerd.observability.event_bus import EventBus, EventKind

RUNNER, REQUEST, MODELS = EventKind.RUNNER, EventKind.REQUEST, EventKind.MODELS


@pytest.fixture
def bus() -> EventBus:
    return EventBus(lambda: 7.0)


def subjects(bus: EventBus, since: int, *kinds: EventKind) -> list[object]:
    return [event.subject for event in bus.since(since, kinds or tuple(EventKind)).events]


async def test_what_has_happened_since_in_order(bus: EventBus) -> None:
    """Of all kinds together, or of some."""
    for number, kind in enumerate((RUNNER, REQUEST, RUNNER, MODELS)):
        bus.publish(kind, number)
    assert subjects(bus, 0) == [0, 1, 2, 3]
    assert subjects(bus, 2) == [2, 3]
    assert subjects(bus, 0, RUNNER) == [0, 2]
    assert bus.since(0, [RUNNER]).events[0].at == 7.0
    assert not bus.since(0, list(EventKind)).missed


async def test_many_of_one_kind_push_no_other_out(bus: EventBus) -> None:
    """And who asks for what is not kept any more is told that there was more."""
    bus.publish(RUNNER, "load")
    for number in range(5000):
        bus.publish(REQUEST, number)
    assert subjects(bus, 0, RUNNER) == ["load"]
    assert not bus.since(0, [RUNNER]).missed
    kept = bus.since(0, [REQUEST])
    assert kept.missed
    assert [event.subject for event in kept.events] == list(range(4000, 5000))
    assert not bus.since(kept.events[0].number - 1, [REQUEST]).missed


async def test_ids_are_of_this_daemon(bus: EventBus) -> None:
    """An id of another life, of the future, or none at all, is no place to go on from."""
    bus.publish(RUNNER, 1)
    assert bus.number_of(bus.last_id) == 1
    for id in (EventBus().last_id, bus.id_of(2), "", "x"):
        assert bus.number_of(id) is None


async def test_who_watches_is_woken(bus: EventBus, monkeypatch: pytest.MonkeyPatch) -> None:
    """By news, by the end, and without either for a sign of life."""
    monkeypatch.setattr(event_bus, "_TOGETHER", 0.0)
    with bus.watched("a") as watcher:
        waiting = asyncio.ensure_future(watcher.wait())  # noqa: TID251 - a test's own
        await asyncio.sleep(0)
        assert not waiting.done()
        bus.publish(RUNNER, 1)
        await waiting
        monkeypatch.setattr(event_bus, "HEARTBEAT", 0.0)
        await watcher.wait()
        monkeypatch.setattr(event_bus, "HEARTBEAT", 1000.0)
        bus.close()
        await watcher.wait()
    assert bus.closed.is_set()


async def test_so_many_streams(bus: EventBus) -> None:
    """Of one principal, whose end makes room again; others have theirs."""
    with ExitStack() as stack:
        for _ in range(16):
            stack.enter_context(bus.watched("a"))
        with pytest.raises(Overloaded), bus.watched("a"):
            pass
        with bus.watched("b"):
            pass
    with bus.watched("a"):
        pass
