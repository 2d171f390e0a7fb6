"""The scheduler's tables of memory: what fits, who goes, and what running out of it means."""

from __future__ import annotations

import pytest

from runnerd.backends.interface import EngineFailure
from runnerd.scheduler import (
    DeviceMemory,
    Fault,
    Grant,
    Limits,
    Refusal,
    Refuse,
    RunnerKey,
    Scheduler,
    Start,
    Stop,
    StopReason,
    Terms,
)

NO_MEMORY = EngineFailure("out of memory", loading=True, out_of_memory=True)


def key(name: str) -> RunnerKey:
    return RunnerKey("llama.cpp", name, "completion", "0")


A, B, C, D = key("a"), key("b"), key("c"), key("d")


def make(*, ram: int = 100, gpu: int = 100, others: int = 0, **needs: dict[str, int]) -> Scheduler:
    """Return a scheduler on a host with so much memory, and models with these needs."""
    scheduler = Scheduler(
        Limits(capacity=16, queue_length=100, queue_timeout=60.0, keep_alive=-1.0)
    )
    look(scheduler, ram=ram, gpu=gpu, used=others)
    for name, need in needs.items():
        scheduler.set_terms(key(name), Terms(need=need))
    return scheduler


def look(scheduler: Scheduler, *, ram: int = 100, gpu: int = 100, used: int = 0) -> None:
    scheduler.observe(
        [DeviceMemory("ram", ram, ram - used, ram), DeviceMemory("gpu0", gpu, gpu - used, gpu)]
    )


def load(scheduler: Scheduler, wanted: RunnerKey, now: float, *, seconds: float = 0.0) -> int:
    """Load a model for one request and release it; return the generation."""
    ticket = 1000 + int(now * 10)
    [start] = scheduler.request(ticket, wanted, now - seconds)
    assert isinstance(start, Start)
    scheduler.ready(wanted, start.generation, now)
    scheduler.release(ticket, now)
    return start.generation


def test_models_that_fit_together_stay_together() -> None:
    """Nothing is evicted while there is room on every device."""
    scheduler = make(a={"ram": 10, "gpu0": 60}, b={"ram": 10, "gpu0": 40}, c={"ram": 80})
    for number, wanted in enumerate((A, B, C)):
        load(scheduler, wanted, float(number))
    assert len(scheduler.view()) == 3


def test_only_who_holds_what_is_missing_goes() -> None:
    """Room on the GPU is not made by stopping what lies in RAM, however long that was idle."""
    scheduler = make(a={"ram": 50}, b={"gpu0": 60}, c={"gpu0": 60})
    load(scheduler, A, 0.0)
    generation = load(scheduler, B, 1.0)
    assert scheduler.request(1, C, 2.0) == [Stop(B, generation, StopReason.EVICTED)]


def test_memory_is_free_when_the_process_is_gone_not_when_it_is_asked_to_go() -> None:
    """The start waits for the end of what it replaces."""
    scheduler = make(a={"ram": 60}, b={"ram": 60})
    generation = load(scheduler, A, 0.0)
    assert scheduler.request(1, B, 1.0) == [Stop(A, generation, StopReason.EVICTED)]
    assert scheduler.tick(2.0) == []
    assert scheduler.ended(A, generation, None, 3.0) == [Start(B, 2)]


def test_small_model_does_not_evict_the_big_one_where_a_small_one_will_do() -> None:
    """A small embedding model replaces another small one and not the chat model."""
    scheduler = make(a={"ram": 70}, b={"ram": 15}, c={"ram": 15}, d={"ram": 10})
    load(scheduler, A, 10.0, seconds=10.0)
    generation = load(scheduler, B, 20.0, seconds=0.5)
    load(scheduler, C, 30.0, seconds=0.5)
    assert scheduler.request(1, D, 40.0) == [Stop(B, generation, StopReason.EVICTED)]


def test_dear_model_stays_longer_than_a_cheap_one_of_the_same_age() -> None:
    """Idle time counts against the time that loading again would take."""
    scheduler = make(a={"ram": 50}, b={"ram": 50}, c={"ram": 50})
    load(scheduler, A, 100.0, seconds=60.0)
    cheap = load(scheduler, B, 110.0, seconds=1.0)
    assert scheduler.request(1, C, 130.0) == [Stop(B, cheap, StopReason.EVICTED)]


def test_one_slow_load_does_not_make_a_model_dear() -> None:
    """What a load takes is learned from several: a busy host is not the model's price."""
    scheduler = make(a={"ram": 50}, b={"ram": 50}, c={"ram": 50})
    first = load(scheduler, A, 100.0, seconds=1.0)
    scheduler.unload(lambda each: each == A)
    scheduler.ended(A, first, None, 101.0)
    slow = load(scheduler, A, 200.0, seconds=9.0)
    load(scheduler, B, 201.0, seconds=6.0)
    assert scheduler.request(1, C, 230.0) == [Stop(A, slow, StopReason.EVICTED)]


def test_several_go_when_one_is_not_enough_and_no_more_than_that() -> None:
    """A big model takes the place of two small ones, the third stays."""
    scheduler = make(a={"ram": 30}, b={"ram": 30}, c={"ram": 30}, d={"ram": 60})
    for number, wanted in enumerate((A, B, C)):
        load(scheduler, wanted, float(number))
    stops = scheduler.request(1, D, 10.0)
    assert [stop.key for stop in stops if isinstance(stop, Stop)] == [A, B]


def test_other_programs_memory_counts() -> None:
    """What others use is not free, and is free again when they give it back."""
    scheduler = make(a={"ram": 30}, b={"ram": 50})
    load(scheduler, A, 0.0)
    look(scheduler, used=30 + 40)
    [stop] = scheduler.request(1, B, 1.0)
    assert isinstance(stop, Stop)
    scheduler = make(a={"ram": 30}, b={"ram": 50})
    load(scheduler, A, 0.0)
    look(scheduler, used=30)
    assert scheduler.request(1, B, 1.0) == [Start(B, 2)]


def test_estimate_alone_never_refuses() -> None:
    """A model bigger than the host is started once it has the host for itself."""
    scheduler = make(a={"ram": 60}, b={"ram": 500})
    generation = load(scheduler, A, 0.0)
    assert scheduler.request(1, B, 1.0) == [Stop(A, generation, StopReason.EVICTED)]
    assert scheduler.ended(A, generation, None, 2.0) == [Start(B, 2)]
    assert scheduler.ready(B, 2, 3.0) == [Grant(1, B, 2)]


def test_what_a_runner_really_holds_replaces_the_estimate() -> None:
    """Learned footprints make room that an estimate had denied."""
    scheduler = make(a={"ram": 90}, b={"ram": 40})
    generation = load(scheduler, A, 0.0)
    scheduler.learned(A, generation, {"ram": 50}, {"ram": 50})
    assert scheduler.need(A) == {"ram": 50}
    assert scheduler.request(1, B, 1.0) == [Start(B, 2)]


def test_memory_that_runs_out_at_a_start_is_tried_again_alone() -> None:
    """Out of memory beside others: they go, and the same request is served by the second try."""
    scheduler = make(a={"ram": 40}, b={"ram": 40})
    generation = load(scheduler, A, 0.0)
    assert scheduler.request(1, B, 1.0) == [Start(B, 2)]
    assert scheduler.ended(B, 2, NO_MEMORY, 2.0, fault=Fault.OUT_OF_MEMORY) == [
        Stop(A, generation, StopReason.EVICTED)
    ]
    assert scheduler.ended(A, generation, None, 3.0) == [Start(B, 3)]
    assert scheduler.ready(B, 3, 4.0) == [Grant(1, B, 3)]


def test_memory_that_runs_out_twice_is_told() -> None:
    """Alone on the host and still too big: refused, and not tried for every request."""
    scheduler = make(a={"ram": 40}, b={"ram": 40})
    generation = load(scheduler, A, 0.0)
    scheduler.request(1, B, 1.0)
    scheduler.ended(B, 2, NO_MEMORY, 2.0, fault=Fault.OUT_OF_MEMORY)
    scheduler.ended(A, generation, None, 3.0)
    assert scheduler.ended(B, 3, NO_MEMORY, 4.0, fault=Fault.OUT_OF_MEMORY) == [
        Refuse(1, Refusal.NO_MEMORY, NO_MEMORY)
    ]
    assert scheduler.request(2, B, 5.0) == [Refuse(2, Refusal.FAILING, NO_MEMORY)]


def test_exclusive_group_has_one_place() -> None:
    """Two models of a group are never there together, however much memory is free."""
    scheduler = make()
    for wanted in (A, B):
        scheduler.set_terms(wanted, Terms(exclusive_groups=("g",)))
    generation = load(scheduler, A, 0.0)
    assert scheduler.request(1, B, 1.0) == [Stop(A, generation, StopReason.EVICTED)]


def test_pinned_model_is_never_evicted() -> None:
    """Not even for one that would have the host for itself otherwise."""
    scheduler = make(b={"ram": 80})
    scheduler.set_terms(A, Terms(need={"ram": 60}, pinned=True))
    load(scheduler, A, 0.0)
    assert scheduler.request(1, B, 1.0) == [Start(B, 2)], "tried beside it: nothing else can go"
    assert [view.pinned for view in scheduler.view()] == [True, False]


@pytest.mark.parametrize("count", [2, 3])
def test_instances_grow_into_free_room_only(count: int) -> None:
    """A pool grows with its load up to what is free, and never at the expense of others."""
    scheduler = make(b={"ram": 20})
    load(scheduler, B, 0.0)
    scheduler.set_terms(A, Terms(need={"ram": 80 // count}, slots=1, max_instances=4))
    scheduler.request(1, A, 1.0)
    scheduler.ready(A, 2, 1.0)
    for ticket in range(2, 10):
        started = [d for d in scheduler.request(ticket, A, 2.0) if isinstance(d, Start)]
        for start in started:
            scheduler.ready(A, start.generation, 2.0)
    assert sum(view.key == A for view in scheduler.view()) == count
    assert sum(view.key == B for view in scheduler.view()) == 1


def test_room_for_a_big_model_is_kept_for_it() -> None:
    """A small model that would fit now does not take what a bigger one, which came first, needs."""
    scheduler = make(a={"ram": 50}, b={"ram": 90}, c={"ram": 40}, d={"ram": 10})
    scheduler.request(1, A, 0.0)
    scheduler.ready(A, 1, 0.0)
    assert scheduler.request(2, B, 100.0) == []
    assert scheduler.request(3, C, 101.0) == [], "it would have to go again at once"
    assert scheduler.withdraw(3, 101.0) == []
    assert scheduler.request(4, D, 101.0) == [Start(D, 2)], "fits beside the big one, too"
    assert scheduler.release(1, 102.0) == [Stop(A, 1, StopReason.EVICTED)]
    assert scheduler.ended(A, 1, None, 103.0) == [Start(B, 3)]


def test_memory_of_a_runner_that_loads_is_not_taken_for_somebody_elses() -> None:
    """A look at the host in the middle of a load: what came into use may be the runner's own."""
    scheduler = make(a={"ram": 60}, b={"ram": 40})
    assert scheduler.request(1, A, 0.0) == [Start(A, 1)]
    look(scheduler, used=60)
    assert scheduler.request(2, B, 1.0) == [Start(B, 2)]
    assert scheduler.devices()[0][1] == 0


def hold(scheduler: Scheduler, name: str, generation: int, amount: int) -> None:
    """Let a ready runner be seen to hold so much RAM, and reserve it."""
    scheduler.learned(key(name), generation, {"ram": amount}, {"ram": amount})


def loaded(**held: int) -> Scheduler:
    """Return a scheduler with idle runners, in this order, that hold so much of 100."""
    scheduler = make()
    for generation, name in enumerate(held, start=1):
        scheduler.set_terms(key(name), Terms(need={"ram": 10}))
        scheduler.request(generation, key(name), float(generation))
        scheduler.ready(key(name), generation, float(generation))
        scheduler.release(generation, float(generation))
    for generation, (name, amount) in enumerate(held.items(), start=1):
        hold(scheduler, name, generation, amount)
    return scheduler


def test_idle_runners_go_when_all_hold_too_much() -> None:
    """Whoever was idle longest, and no more than have to."""
    scheduler = loaded(a=30, b=30, c=30)
    assert scheduler.relieve(10.0) == []
    hold(scheduler, "c", 3, 50)
    assert scheduler.relieve(10.0) == [Stop(A, 1, StopReason.EVICTED)]
    assert scheduler.relieve(10.0) == []  # it is on its way
    scheduler.ended(A, 1, None, 11.0)
    scheduler.observe([DeviceMemory("ram", 100, 20, 75)])  # models may have less now
    assert scheduler.relieve(12.0) == [Stop(B, 2, StopReason.EVICTED)]


def test_the_last_runner_stays() -> None:
    """Loading it again would not help."""
    scheduler = loaded(a=500, b=500)
    assert scheduler.relieve(10.0) == [Stop(A, 1, StopReason.EVICTED)]
    assert scheduler.relieve(10.0) == []
    hold(scheduler, "b", 2, 900)
    assert scheduler.relieve(10.0) == []


def test_runners_in_use_and_pinned_ones_stay() -> None:
    """Relief comes from idle ones alone."""
    scheduler = loaded(a=40, b=40, c=40)
    scheduler.request(9, A, 9.0)
    scheduler.set_terms(B, Terms(need={"ram": 40}, pinned=True))
    assert scheduler.relieve(10.0) == [Stop(C, 3, StopReason.EVICTED)]
    hold(scheduler, "a", 1, 90)
    assert scheduler.relieve(10.0) == []


def test_a_foretold_need_alone_sends_nobody_away() -> None:
    """What counts is what was seen; and what is reserved for those that load."""
    scheduler = loaded(a=30, b=30)
    scheduler.learned(A, 1, {"ram": 90}, {"ram": 30})
    assert scheduler.relieve(10.0) == []


def test_share_is_an_owners_word_and_no_estimate() -> None:
    """What needs more than runners may have is refused and evicts nobody; a limit that only says
    what is free is tried.
    """
    scheduler = make(a={"ram": 40}, b={"ram": 60}, c={"ram": 40})
    scheduler.observe([DeviceMemory("ram", 100, 100, 50, 50)])
    generation = load(scheduler, A, 0.0)
    assert scheduler.request(1, B, 1.0) == [Refuse(1, Refusal.OVER_SHARE)]
    assert scheduler.request(2, C, 2.0) == [Stop(A, generation, StopReason.EVICTED)]
    scheduler.observe([DeviceMemory("ram", 100, 100, 50, None)])
    scheduler.ended(A, generation, None, 3.0)
    scheduler.withdraw(2, 3.0)
    assert Start(B, 3) in [*scheduler.ended(C, 2, None, 3.0), *scheduler.request(3, B, 4.0)]


def test_share_that_shrinks_tells_who_waits() -> None:
    """A reload of the settings, or a better account, while requests wait."""
    scheduler = make(a={"ram": 60}, b={"ram": 60})
    scheduler.observe([DeviceMemory("ram", 100, 100, 80, 80)])
    scheduler.request(1, A, 0.0)
    scheduler.ready(A, 1, 0.0)
    assert scheduler.request(2, B, 0.1) == []
    scheduler.observe([DeviceMemory("ram", 100, 100, 50, 50)])
    assert Refuse(2, Refusal.OVER_SHARE) in scheduler.release(1, 0.2)
    assert scheduler.request_at_once(3, A, 0.3) is not None, "what is there serves on"


def test_residents_are_the_last_to_make_room() -> None:
    """Somebody's turn is waited for rather than that an owner's wish is broken."""
    scheduler = make(a={"ram": 30}, b={"ram": 30}, c={"ram": 30}, d={"ram": 30})
    scheduler.set_terms(A, Terms(need={"ram": 30}, min_instances=1))
    scheduler.ensure(0.0)
    scheduler.ready(A, 1, 0.0)
    load(scheduler, B, 100.0)
    scheduler.request(1, C, 200.0)
    scheduler.ready(C, 3, 200.0)
    assert scheduler.request(2, D, 300.0) == [Stop(B, 2, StopReason.EVICTED)]
    scheduler.ended(B, 2, None, 300.0)
    scheduler.ready(D, 4, 300.0)
    assert scheduler.request(3, B, 300.1) == [], "C ends its answer, A stays"
    assert scheduler.release(1, 301.0) == [Stop(C, 3, StopReason.EVICTED)]


def test_resident_that_had_to_go_comes_back_when_nobody_uses_its_room() -> None:
    """Not only when the other model expires: after a quantum without a request."""
    scheduler = make(a={"ram": 60}, b={"ram": 60})
    scheduler.set_terms(A, Terms(need={"ram": 60}, min_instances=1))
    scheduler.ensure(0.0)
    scheduler.ready(A, 1, 0.0)
    assert scheduler.request(1, B, 10.0) == [Stop(A, 1, StopReason.EVICTED)]
    scheduler.ended(A, 1, None, 10.0)
    scheduler.ready(B, 2, 11.0)
    assert scheduler.release(1, 12.0) == []
    deadline = scheduler.expires_at(B, 2)
    assert deadline is not None
    assert deadline == scheduler.next_deadline()
    assert 12.0 < deadline < 20.0
    assert scheduler.request_at_once(2, B, 12.5) is not None
    assert scheduler.tick(deadline) == []
    assert scheduler.release(2, 20.0) == []
    deadline = scheduler.next_deadline()
    assert deadline is not None
    assert 20.0 < deadline < 28.0
    assert scheduler.tick(deadline) == [Stop(B, 2, StopReason.EVICTED)]
    assert scheduler.ended(B, 2, None, deadline) == [Start(A, 3)]


def test_two_residents_that_do_not_fit_do_not_chase_each_other() -> None:
    """The one that is there stays until somebody asks for the other."""
    scheduler = make(a={"ram": 60}, b={"ram": 60})
    for each in (A, B):
        scheduler.set_terms(each, Terms(need={"ram": 60}, min_instances=1))
    assert scheduler.ensure(0.0) == [Start(A, 1)]
    scheduler.ready(A, 1, 0.0)
    assert scheduler.next_deadline() is None
    assert scheduler.tick(1000.0) == []
