"""How closed loops on models that do not fit together share the time, whatever came before."""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from runnerd.scheduler import Limits, RunnerKey, Scheduler
from runnerd.scheduler.shares import Account, Shares
from tests.support.simulation import Simulation

FAIR = 1.5
WINDOW = 10.0


def key(name: str) -> RunnerKey:
    return RunnerKey("llama.cpp", name, "completion", "0")


A, B, C = key("a"), key("b"), key("c")


def make(*, capacity: int = 1, quantum: float = 1.0) -> Scheduler:
    return Scheduler(
        Limits(
            capacity=capacity,
            queue_length=1000,
            queue_timeout=600.0,
            keep_alive=300.0,
            quantum=quantum,
        )
    )


def ratio(shares: list[float]) -> float:
    return shares[-1] / max(shares[0], 1e-9)


MODELS = st.sampled_from([A, B, C])


class Histories(RuleBasedStateMachine):
    """Anything may have happened: then closed loops begin, and share the time from there on."""

    @initialize(
        load=st.sampled_from([0.02, 0.1, 0.5]),
        answers=st.tuples(*[st.sampled_from([0.01, 0.1, 1.0])] * 3),
        pause=st.sampled_from([0.0001, 0.001, 0.01]),
    )
    def begin(self, load: float, answers: tuple[float, ...], pause: float) -> None:
        self.simulation = Simulation(
            make(),
            load_seconds=load,
            answers=dict(zip((A, B, C), answers, strict=True)),
            pause=pause,
        )

    @rule(wanted=MODELS)
    def one_request(self, wanted: RunnerKey) -> None:
        self.simulation.ask("once", wanted, again=False)

    @rule(wanted=MODELS, clients=st.integers(1, 4), seconds=st.sampled_from([0.01, 0.5, 3.0]))
    def loop(self, wanted: RunnerKey, clients: int, seconds: float) -> None:
        for number in range(clients):
            self.simulation.ask(f"{wanted.model}{number}", wanted)
        self.simulation.run(seconds)

    @rule()
    def leave(self) -> None:
        self.simulation.leave()

    @rule(seconds=st.sampled_from([0.0, 0.005, 0.03, 0.3, 2.0, 60.0, 3600.0]))
    def time_passes(self, seconds: float) -> None:
        self.simulation.leave()
        self.simulation.run(seconds)

    @rule(wanted=MODELS)
    def crash(self, wanted: RunnerKey) -> None:
        self.simulation.crash(wanted)

    @rule(wanted=MODELS)
    def unload(self, wanted: RunnerKey) -> None:
        self.simulation.unload(wanted)

    @rule(models=st.sampled_from([(A, B), (B, A), (A, B, C), (C, B, A)]), clients=st.integers(1, 4))
    def share(self, models: tuple[RunnerKey, ...], clients: int) -> None:
        """From whatever is, over ten seconds; or over five rounds where these take longer."""
        simulation = self.simulation
        simulation.leave()
        turn = max(1.0, 2 * simulation.load_seconds) + simulation.load_seconds
        turn += max(simulation.answers[key] for key in models)
        seconds = max(WINDOW, 5 * len(models) * turn)
        simulation.scheduler.reset(lambda key: True)
        for wanted in models:
            for number in range(clients):
                simulation.ask(f"{wanted.model}{number}", wanted)
        shares = simulation.shares(models, seconds)
        assert ratio(shares) <= FAIR, shares


Histories.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=8,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
TestHistories = Histories.TestCase


@pytest.mark.parametrize(
    ("answers", "seconds"), [((0.005, 0.005), 10.0), ((0.02, 0.3), 20.0), ((2.0, 0.05), 60.0)]
)
def test_one_long_absence_spoils_nothing(answers: tuple[float, float], seconds: float) -> None:
    """Used once an hour until now, then as much as the other one: half of the time."""
    simulation = Simulation(
        make(), load_seconds=0.05, answers=dict(zip((A, B), answers, strict=True))
    )
    for _ in range(3):
        simulation.ask("once", B, again=False)
        simulation.run(3600.0)
    for number in range(4):
        simulation.ask(f"a{number}", A)
        simulation.ask(f"b{number}", B)
    shares = simulation.shares((A, B), seconds)
    assert ratio(shares) <= FAIR, shares


def test_swaps_take_a_third_of_the_time_at_most() -> None:
    """However long loads take: quanta last twice as long, for the quick model too."""
    simulation = Simulation(make(), load_seconds=0.05, loads={B: 5.0})
    for number in range(2):
        simulation.ask(f"a{number}", A)
        simulation.ask(f"b{number}", B)
    shares = simulation.shares((A, B), 200.0)
    assert ratio(shares) <= FAIR, shares
    assert sum(shares) > 200.0 * 2 / 3


def test_debts_are_forgiven_in_time() -> None:
    """Who waits is not passed by newcomers for ever, and after a quiet time all begin anew."""
    shares = Shares(1.0, 600.0)
    ahead, behind = Account(), Account()
    shares.contend([ahead], [behind])
    shares.settle(3.0)
    assert (shares.lead(ahead), shares.lead(behind)) == (6, 0)
    shares.contend([], [ahead, behind])
    shares.settle(3.0 + 30.0)
    assert 0 < shares.lead(ahead) < 6
    shares.settle(3.0 + 60.0)
    assert shares.lead(ahead) == 0
    shares.contend([ahead], [behind])
    shares.settle(100.0)
    shares.contend([], [])
    shares.settle(110.0)
    shares.place(behind)
    assert shares.lead(ahead) == 0
    assert shares.catches_up_at(behind, ahead, 110.0) == 110.0
