"""Turns, backoff and affinity, and the published failures of other schedulers, each by name."""

from __future__ import annotations

from runnerd.backends.interface import EngineFailure
from runnerd.scheduler import (
    Decision,
    Fault,
    Grant,
    Limits,
    Refusal,
    Refuse,
    RunnerKey,
    RunnerState,
    Scheduler,
    Start,
    Stop,
    StopReason,
    Terms,
)
from tests.support.simulation import CRASH, Simulation

REFUSED = EngineFailure("exit status 1", exit_reason="exit status 1", loading=True)


def key(name: str) -> RunnerKey:
    return RunnerKey("llama.cpp", name, "completion", "0")


A, B, C = key("a"), key("b"), key("c")


def make(*, capacity: int = 1, quantum: float = 2.0, overcommit: float = 2.0) -> Scheduler:
    return Scheduler(
        Limits(
            capacity=capacity,
            queue_length=1000,
            queue_timeout=600.0,
            keep_alive=-1.0,
            quantum=quantum,
            overcommit=overcommit,
        )
    )


def test_alternating_clients_do_not_thrash_llama_swap_612() -> None:
    """llama-swap #612: two clients on two models that do not fit together.  Each model gets turns
    of some length, so loads are few and nobody starves.
    """
    simulation = Simulation(make())
    simulation.ask("x", A)
    simulation.ask("y", B)
    simulation.run(100.0)
    requests = sum(simulation.served.values())
    assert simulation.starts / requests < 0.1, (simulation.starts, requests)
    assert min(simulation.served.values()) > 0.4 * max(simulation.served.values())
    assert simulation.longest_wait < 10.0


def test_stream_of_small_requests_does_not_starve_a_big_model() -> None:
    """Ten busy clients of one model: the other model still gets its turn."""
    simulation = Simulation(make())
    for number in range(10):
        simulation.ask(f"x{number}", A)
    simulation.run(1.0)
    simulation.ask("big", B)
    simulation.run(100.0)
    assert simulation.served["big"] > 50
    assert simulation.longest_wait < 10.0


def test_one_client_that_alternates_is_not_kept_waiting() -> None:
    """Where nobody would come back to the idle model, it goes at once."""
    scheduler = make()
    for number in range(6):
        wanted = (A, B)[number % 2]
        now = 10.0 * number
        decisions = scheduler.request(number, wanted, now)
        if number:
            [stop] = decisions
            assert isinstance(stop, Stop), "no waiting for a turn to end"
            decisions = scheduler.ended(stop.key, stop.generation, None, now)
        [start] = decisions
        assert isinstance(start, Start)
        scheduler.ready(wanted, start.generation, now + 1)
        scheduler.release(number, now + 2)


def test_many_models_and_clients_are_all_served() -> None:
    """Twelve models in room for four: everybody is served, in bounded time."""
    simulation = Simulation(make(capacity=4))
    for number in range(12):
        for client in range(3):
            simulation.ask(f"{number}-{client}", key(f"m{number}"))
    simulation.run(300.0)
    assert len(simulation.served) == 36
    assert simulation.longest_wait < 60.0
    assert simulation.scheduler.stranded(simulation.now) == []


def test_greedy_client_does_not_crowd_out_others() -> None:
    """A hundred requests of one client: another client's one request is second in the queue."""
    scheduler = make()
    scheduler.set_terms(A, Terms(slots=1))
    for ticket in range(100):
        scheduler.request(ticket, A, 0.0, client="greedy")
    scheduler.request(100, A, 0.0, client="modest")
    assert scheduler.ready(A, 1, 1.0) == [Grant(0, A, 1), Grant(100, A, 1)]


def test_priority_is_a_head_start_and_no_right_of_way() -> None:
    """A high priority goes first, and an old request is passed by only so many of them."""
    scheduler = make(overcommit=1.0)
    scheduler.set_terms(A, Terms(slots=1))
    for ticket in range(3):
        scheduler.request(ticket, A, 0.0, client="x")
    scheduler.request(3, A, 0.0, client="urgent", priority=1)
    assert scheduler.ready(A, 1, 1.0) == [Grant(3, A, 1)]
    order = []
    last = 3
    for ticket in range(4, 60):
        scheduler.request(ticket, A, 2.0, client="urgent", priority=1)
        [grant] = scheduler.release(last, 2.0)
        assert isinstance(grant, Grant)
        last = grant.ticket
        order.append(last)
    assert {0, 1, 2} <= set(order)


def test_requests_go_where_their_conversation_is() -> None:
    """The instance that has seen most of a prefix is chosen, else the one with least to do."""
    scheduler = make(capacity=2)
    scheduler.set_terms(A, Terms(slots=4, min_instances=2, max_instances=2))
    scheduler.ensure(0.0)
    scheduler.ready(A, 1, 0.0)
    scheduler.ready(A, 2, 0.0)
    assert scheduler.request(1, A, 1.0, affinity=(11,)) == [Grant(1, A, 1)]
    assert scheduler.request(2, A, 2.0, affinity=(21,)) == [Grant(2, A, 2)]
    scheduler.release(1, 3.0)
    scheduler.release(2, 4.0)
    assert scheduler.request(3, A, 5.0, affinity=(21, 22)) == [Grant(3, A, 2)]
    assert scheduler.request(4, A, 5.0, affinity=(21, 22, 23)) == [Grant(4, A, 2)]
    assert scheduler.request(5, A, 5.0, affinity=(31,)) == [Grant(5, A, 1)]


def test_busy_model_is_waited_for_llama_cpp_21678() -> None:
    """llama.cpp #21678: a model in use is never stopped for another one, not even after its turn:
    it takes no more requests, and goes when it has answered those it has.
    """
    scheduler = make()
    scheduler.request(1, A, 0.0)
    scheduler.ready(A, 1, 0.0)
    assert scheduler.request(2, B, 100.0) == []
    assert scheduler.request_at_once(3, A, 100.0) is None
    assert scheduler.request(3, A, 100.0) == []
    assert [view.draining for view in scheduler.view()] == [True]
    assert scheduler.release(1, 101.0) == [Stop(A, 1, StopReason.EVICTED)]
    assert scheduler.ended(A, 1, None, 102.0) == [Start(B, 2)]
    assert scheduler.ready(B, 2, 103.0) == [Grant(2, B, 2)]


def test_just_loaded_model_serves_who_waited_llama_cpp_28698() -> None:
    """llama.cpp #28698: no tick and no other request takes a model from those it was loaded for,
    even with turns of no length at all.
    """
    scheduler = make(quantum=0.0)
    scheduler.request(1, A, 0.0)
    scheduler.request(2, B, 0.0)
    assert scheduler.tick(5.0) == []
    assert scheduler.ready(A, 1, 5.0) == [Grant(1, A, 1)]
    assert scheduler.tick(100.0) == []
    assert [view.state for view in scheduler.view()] == [RunnerState.READY]


def test_load_is_not_stopped_for_another_llama_cpp_28443() -> None:
    """llama.cpp #28443: a model that is being loaded is not evicted by the next request."""
    scheduler = make()
    scheduler.request(1, A, 0.0)
    assert scheduler.request(2, B, 50.0) == []
    assert scheduler.tick(51.0) == []
    assert scheduler.ready(A, 1, 60.0) == [Grant(1, A, 1)]


def test_no_transition_strands_a_waiter_llama_swap_946() -> None:
    """llama-swap #946: a request that comes while its model stops is neither lost nor granted a
    dying one, however the stop ends.
    """
    for failure in (None, CRASH):
        scheduler = make()
        scheduler.request(1, A, 0.0)
        scheduler.ready(A, 1, 0.0)
        scheduler.release(1, 0.0)
        scheduler.unload(lambda key: True)
        assert scheduler.request(2, A, 1.0) == []
        assert scheduler.ended(A, 1, failure, 2.0) == [Start(A, 2)]


def test_head_of_the_queue_does_not_block_others_ollama_17408() -> None:
    """Ollama #17408: one model that cannot be placed yet holds up nobody who needs nothing of its
    room, and the self-check says that nobody is stranded.
    """
    scheduler = make(capacity=2)
    scheduler.set_terms(A, Terms(exclusive_groups=("g",)))
    scheduler.set_terms(B, Terms(exclusive_groups=("g",)))
    scheduler.request(1, A, 0.0)
    scheduler.ready(A, 1, 0.0)
    assert scheduler.request(2, B, 1.0) == []
    assert scheduler.request_at_once(3, A, 1.5) == Grant(3, A, 1)
    scheduler.request(4, C, 2.0)
    assert scheduler.stranded(3.0) == []
    scheduler.release(1, 3.0)
    scheduler.release(3, 3.0)
    scheduler.ended(A, 1, None, 4.0)
    keys = {view.key for view in scheduler.view()}
    assert keys == {B, C}


def crash(scheduler: Scheduler, now: float, *, jitter: float = 1.0) -> list[Decision]:
    """Load A for a request at `now` and let it crash at once."""
    scheduler.request(int(now * 10), A, now)
    [view] = scheduler.view()
    scheduler.ready(A, view.generation, now)
    return scheduler.ended(A, view.generation, CRASH, now, jitter=jitter)


def test_restarts_back_off_and_reset_after_good_service() -> None:
    """At once, then 1, 2, 4 ... seconds with jitter; five good minutes begin anew."""
    scheduler = make()
    crash(scheduler, 0.0)
    crash(scheduler, 0.0, jitter=1.2)
    assert scheduler.request(1, A, 0.1) == []
    assert scheduler.next_deadline() == 1.2
    assert scheduler.tick(1.1) == []
    assert scheduler.tick(1.2) == [Start(A, 3)]
    scheduler.ready(A, 3, 2.0)
    scheduler.ended(A, 3, CRASH, 3.0)
    assert [view.retry_at for view in scheduler.failures()] == [5.0]
    [] = scheduler.request(2, A, 4.0)
    scheduler.tick(5.0)
    scheduler.ready(A, 4, 6.0)
    scheduler.ended(A, 4, CRASH, 306.0)
    assert scheduler.request(3, A, 306.0) == [Start(A, 5)]


def test_circuit_opens_after_five_failures_and_lets_one_try_through() -> None:
    """From the fifth failure in ten minutes on, requests are refused until it is time to try."""
    scheduler = make()
    now = 0.0
    for _ in range(5):
        crash(scheduler, now)
        [failure] = scheduler.failures()
        now = failure.retry_at
    assert scheduler.request(1, A, now - 0.1) == [Refuse(1, Refusal.FAILING, CRASH)]
    [start] = scheduler.request(2, A, now)
    assert isinstance(start, Start)
    assert scheduler.ended(A, start.generation, CRASH, now) == [
        Refuse(2, Refusal.LOAD_FAILED, CRASH)
    ]
    assert scheduler.request(3, A, now + 1) == [Refuse(3, Refusal.FAILING, CRASH)]


def test_model_that_the_engine_refuses_is_not_tried_for_every_request() -> None:
    """One load, then the reason for everybody; an owner's word or a minute allows the next try."""
    scheduler = make()
    scheduler.request(1, A, 0.0)
    scheduler.ended(A, 1, REFUSED, 1.0, fault=Fault.REFUSED)
    for ticket in range(2, 100):
        assert scheduler.request(ticket, A, 2.0) == [Refuse(ticket, Refusal.FAILING, REFUSED)]
    scheduler.reset(lambda failed: failed == A)
    assert scheduler.request(100, A, 3.0) == [Start(A, 2)]


def test_failing_instance_of_several_leaves_the_others_to_serve() -> None:
    """A second instance that cannot start refuses nobody while the first one serves."""
    scheduler = make(capacity=2, overcommit=1.0)
    scheduler.set_terms(A, Terms(slots=1, max_instances=2))
    scheduler.request(1, A, 0.0)
    scheduler.ready(A, 1, 0.0)
    assert scheduler.request(2, A, 1.0) == [Start(A, 2, 1)]
    assert scheduler.ended(A, 2, REFUSED, 2.0, fault=Fault.REFUSED) == []
    assert scheduler.release(1, 3.0) == [Grant(2, A, 1)]
    assert scheduler.request(3, A, 4.0) == [], "waits for the one that serves"


def test_changed_limits_lose_nobody() -> None:
    """A smaller capacity takes effect as runners go; who waits goes on waiting."""
    scheduler = make(capacity=2)
    for ticket, wanted in ((1, A), (2, B), (3, C)):
        scheduler.request(ticket, wanted, 0.0)
    scheduler.ready(A, 1, 0.0)
    scheduler.ready(B, 2, 0.0)
    assert (
        scheduler.set_limits(
            Limits(capacity=1, queue_length=0, queue_timeout=600.0, keep_alive=1.0), 1.0
        )
        == []
    )
    assert scheduler.queued == 1
    assert scheduler.release(1, 5.0) == [Stop(A, 1, StopReason.EVICTED)]
    assert scheduler.ended(A, 1, None, 5.0) == []
    assert scheduler.release(2, 5.0) == [Stop(B, 2, StopReason.EVICTED)]
    assert scheduler.ended(B, 2, None, 5.0) == [Start(C, 3)]


def test_client_that_comes_back_at_once_keeps_its_model_for_its_turn() -> None:
    """An idle model whose clients return within a fraction of its loading time is left to them for
    that long, and not longer; nobody has to come for it to go then.
    """
    scheduler = make(quantum=60.0)
    scheduler.request(1, A, 0.0)
    scheduler.ready(A, 1, 10.0)
    scheduler.release(1, 11.0)
    scheduler.request(2, A, 12.0)
    assert scheduler.request(3, B, 12.5) == []
    assert scheduler.release(2, 13.0) == []
    deadline = scheduler.next_deadline()
    assert deadline is not None
    assert 14.0 < deadline < 18.0
    assert scheduler.request(4, A, 14.0) == [Grant(4, A, 1)]
    assert scheduler.release(4, 15.0) == []
    deadline = scheduler.next_deadline()
    assert deadline is not None
    assert 16.0 < deadline < 20.0
    assert scheduler.tick(deadline) == [Stop(A, 1, StopReason.EVICTED)]


def test_client_that_alternates_does_not_wait_for_itself() -> None:
    """Who asks two models in turns comes back to the first one soon, but only after the other has
    answered: nobody is kept waiting for that.
    """
    scheduler = make()
    scheduler.request(0, A, 0.0)
    scheduler.ready(A, 1, 1.0)
    scheduler.release(0, 1.1)
    now, generation = 1.1, 1
    for number in range(1, 8):
        wanted, other = ((A, B), (B, A))[number % 2]
        assert scheduler.request(number, wanted, now) == [
            Stop(other, generation, StopReason.EVICTED)
        ]
        generation += 1
        assert scheduler.ended(other, generation - 1, None, now) == [Start(wanted, generation)]
        scheduler.ready(wanted, generation, now + 0.2)
        now += 0.3
        scheduler.release(number, now)


def test_model_used_once_an_hour_takes_what_it_uses_and_no_more() -> None:
    """Beside one that is used all the time: it is served at once, and gone at once."""
    simulation = Simulation(make(quantum=1.0), load_seconds=0.5, loads={B: 2.0}, answer_seconds=0.5)
    for number in range(4):
        simulation.ask(f"a{number}", A)
    simulation.run(10.0)
    for _ in range(4):
        simulation.longest_wait = 0.0
        simulation.ask("rare", B, again=False)
        lost = 10.0 - simulation.shares([A], 10.0)[0]
        assert lost < 0.5 + 2.0 + 3 * simulation.answer_seconds
        assert simulation.longest_wait < 2.0 + 0.5 + 3 * simulation.answer_seconds
        simulation.run(120.0)


def _instances(scheduler: Scheduler, terms: Terms, count: int) -> None:
    scheduler.set_terms(A, terms)
    scheduler.ensure(0.0)
    for generation in range(1, count + 1):
        scheduler.ready(A, generation, 0.0)


def _talk(scheduler: Scheduler, ticket: int, now: float, *affinity: int) -> int:
    """Let a request come and go; return which instance it got."""
    granted, *_ = scheduler.request(ticket, A, now, affinity=affinity)
    assert isinstance(granted, Grant)
    scheduler.release(ticket, now)
    return granted.generation


def test_new_conversation_takes_an_unused_instance_before_a_used_one() -> None:
    """A matching one, then a fresh one, then the one that was used least recently."""
    scheduler = make(capacity=3)
    _instances(scheduler, Terms(slots=1, min_instances=3, max_instances=3), 3)
    assert _talk(scheduler, 1, 1.0, 11) == 1
    assert _talk(scheduler, 2, 2.0, 21) == 2
    assert _talk(scheduler, 3, 3.0, 11, 12) == 1
    assert _talk(scheduler, 4, 4.0, 31) == 3
    assert _talk(scheduler, 5, 5.0, 41) == 2
    assert _talk(scheduler, 6, 6.0, 31, 32) == 3


def test_full_instance_is_not_waited_for_beside_a_free_one() -> None:
    """To evaluate a conversation again takes less than to wait for a slot behind somebody."""
    scheduler = make(capacity=2)
    _instances(scheduler, Terms(slots=1, min_instances=2, max_instances=2), 2)
    assert scheduler.request(1, A, 1.0, affinity=(11,)) == [Grant(1, A, 1)]
    assert scheduler.request(2, A, 2.0, affinity=(11, 12)) == [Grant(2, A, 2)]


def test_conversation_that_pushes_another_out_brings_another_instance() -> None:
    """Served at once where it is, it lets one more start for the next; once, and if there is room
    for it.
    """
    scheduler = make(capacity=2)
    _instances(scheduler, Terms(slots=1, min_instances=1, max_instances=2), 1)
    assert _talk(scheduler, 1, 1.0, 11) == 1
    assert scheduler.request_at_once(2, A, 2.0, affinity=(21,)) is None
    assert not scheduler.line_up(2, A, 2.0, affinity=(21,), full=True), "there is more to decide"
    assert scheduler.request(2, A, 2.0, affinity=(21,)) == [Grant(2, A, 1), Start(A, 2, 1)]
    scheduler.release(2, 3.0)
    assert scheduler.request_at_once(3, A, 3.0, affinity=(31,)) == Grant(3, A, 1)
    scheduler.release(3, 3.0)
    scheduler.ready(A, 2, 4.0)
    assert _talk(scheduler, 4, 5.0, 41) == 2
    assert _talk(scheduler, 5, 6.0, 31, 32) == 1


def test_instance_is_not_started_for_a_conversation_that_goes_on() -> None:
    """One client with one conversation never has a second instance started."""
    scheduler = make(capacity=2)
    _instances(scheduler, Terms(slots=1, min_instances=1, max_instances=2), 1)
    places: tuple[int, ...] = ()
    for turn in range(5):
        places += (turn,)
        assert scheduler.request(turn, A, 1.0, affinity=places) == [Grant(turn, A, 1)]
        scheduler.release(turn, 1.0)


def test_crowded_model_takes_no_room_from_others() -> None:
    """Where nothing is free the conversation is served, and nothing is started or evicted."""
    scheduler = make(capacity=2)
    _instances(scheduler, Terms(slots=1, min_instances=1, max_instances=2), 1)
    scheduler.request(1, B, 1.0)
    scheduler.ready(B, 2, 1.0)
    scheduler.release(1, 1.0)
    assert _talk(scheduler, 2, 2.0, 11) == 1
    assert scheduler.request(3, A, 3.0, affinity=(21,)) == [Grant(3, A, 1)]


def test_residents_do_not_keep_the_host_from_a_second_try() -> None:
    """A model for which memory ran out gets the host for itself, although models that are to be
    resident would start again as soon as each of them has gone.
    """
    scheduler = make(capacity=4)
    for resident in (A, B):
        scheduler.set_terms(resident, Terms(min_instances=1))
    scheduler.ensure(0.0)
    scheduler.ready(A, 1, 0.0)
    scheduler.ready(B, 2, 0.0)
    assert scheduler.request(1, C, 10.0) == [Start(C, 3)]
    stops = scheduler.ended(C, 3, REFUSED, 11.0, fault=Fault.OUT_OF_MEMORY)
    assert {stop.key for stop in stops if isinstance(stop, Stop)} == {A, B}
    assert scheduler.ended(A, 1, None, 12.0) == []
    assert scheduler.ended(B, 2, None, 13.0) == [Start(C, 4)]
    assert Grant(1, C, 4) in scheduler.ready(C, 4, 14.0)
