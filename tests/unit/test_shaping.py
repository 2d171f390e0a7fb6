"""How many slots an instance is started with: as many as fit, and what others are left."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runnerd.scheduler import DeviceMemory, Grant, Limits, RunnerKey, Scheduler, Shape, Start, Terms

TOTAL = 100


def key(name: str) -> RunnerKey:
    return RunnerKey("llama.cpp", name, "completion", "0")


A, B = key("a"), key("b")


def shapes(weights: int, context: int, most: int = 4) -> Terms:
    """Return the terms of a model whose slots take `context` each beside its weights."""
    needs = [Shape(slots, {"ram": weights + slots * context}) for slots in range(most, 0, -1)]
    first, *fewer = needs
    return Terms(need=first.need, slots=first.slots, fewer=tuple(fewer))


def make(total: int = TOTAL, capacity: int = 4) -> Scheduler:
    limits = Limits(capacity=capacity, queue_length=9, queue_timeout=60.0, keep_alive=30.0)
    scheduler = Scheduler(limits)
    scheduler.observe([DeviceMemory("ram", total, total, total)])
    return scheduler


def ask(scheduler: Scheduler, ticket: int, wanted: RunnerKey, now: float) -> list[object]:
    return list(scheduler.request(ticket, wanted, now))


@given(weights=st.integers(0, 120), context=st.integers(0, 60))
def test_as_many_slots_as_fit(weights: int, context: int) -> None:
    """Never over the limit while fewer would do, never fewer than there is room for."""
    scheduler = make()
    scheduler.set_terms(A, shapes(weights, context))
    [started] = ask(scheduler, 1, A, 0.0)
    assert isinstance(started, Start)
    fitting = [slots for slots in (4, 3, 2, 1) if weights + slots * context <= TOTAL]
    assert started.slots == (fitting or [1])[0]  # the engine has the last word on one that is huge


def test_beside_another_one_there_are_fewer() -> None:
    """What fits with fewer slots evicts nobody for more."""
    scheduler = make()
    scheduler.set_terms(A, shapes(10, 10))
    scheduler.set_terms(B, shapes(10, 15))
    assert ask(scheduler, 1, A, 0.0) == [Start(A, 1, 4)]
    assert ask(scheduler, 2, B, 0.0) == [Start(B, 2, 2)]


def test_two_that_took_everything_settle_side_by_side() -> None:
    """The first takes all, and goes for the second; that leaves it room to come back."""
    scheduler = make()
    for wanted in (A, B):
        scheduler.set_terms(wanted, shapes(20, 20))
    assert ask(scheduler, 1, A, 0.0) == [Start(A, 1, 2)]  # B is known, and could come
    scheduler = make()
    scheduler.set_terms(A, shapes(20, 20))
    assert ask(scheduler, 1, A, 0.0) == [Start(A, 1, 4)]
    scheduler.ready(A, 1, 1.0)
    scheduler.release(1, 2.0)
    scheduler.set_terms(B, shapes(20, 20))
    ask(scheduler, 2, B, 9.0)  # A goes
    assert scheduler.ended(A, 1, None, 10.0) == [Start(B, 2, 2)]
    scheduler.ready(B, 2, 11.0)
    assert ask(scheduler, 3, A, 12.0) == [Start(A, 3, 1)]


def test_where_only_the_places_are_few_memory_is_not_saved() -> None:
    """Another model that cannot be there at the same time loses nothing."""
    scheduler = make(total=1000, capacity=1)
    for wanted in (A, B):
        scheduler.set_terms(wanted, shapes(20, 20))
    assert ask(scheduler, 1, A, 0.0) == [Start(A, 1, 4)]


def test_a_promise_is_kept() -> None:
    """An owner's number is the only one: others make room for it."""
    scheduler = make()
    scheduler.set_terms(A, shapes(10, 10))
    scheduler.set_terms(B, Terms(need={"ram": 70}, slots=4))
    assert ask(scheduler, 1, A, 0.0) == [Start(A, 1, 2)]  # what B needs is kept
    scheduler.ready(A, 1, 1.0)
    assert ask(scheduler, 2, B, 2.0) == [Start(B, 2, 4)]


def test_requests_are_counted_by_the_slots_that_an_instance_has() -> None:
    """Not by those that another one may have had."""
    scheduler = make(total=35)
    scheduler.set_terms(A, shapes(10, 10))
    assert ask(scheduler, 1, A, 0.0) == [Start(A, 1, 2)]
    for ticket in range(2, 7):
        assert ask(scheduler, ticket, A, 0.0) == []
    granted = scheduler.ready(A, 1, 1.0)
    assert granted == [Grant(ticket, A, 1) for ticket in range(1, 5)]  # two for each slot
    [view] = scheduler.view()
    assert (view.slots, view.reserved, view.leases) == (2, {"ram": 30}, 4)
