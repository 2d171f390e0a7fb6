"""What runners may take of each device, and what is left."""

from __future__ import annotations

from runnerd.scheduler.budget import PLACES, Budget, Room, claims, memory
from runnerd.scheduler.decisions import DeviceMemory, Terms


def seen(budget: Budget, free: int, held: int = 0, uncertain: int = 0) -> int:
    """Look at a device of 100 bytes; return what others use."""
    device = DeviceMemory("gpu", 100, free, limit=90)
    budget.observe([device], held={"gpu": held}, uncertain={"gpu": uncertain})
    return budget.others("gpu")


def test_what_others_use_counts() -> None:
    """It is what a device has in use beyond our own runners; never less than nothing."""
    budget = Budget(4)
    assert budget.limit("gpu") is None
    assert seen(budget, free=70, held=20) == 10
    assert budget.limit("gpu") == 90
    assert seen(budget, free=40, held=20) == 40
    assert budget.limit("gpu") == 60
    assert seen(budget, free=95, held=20) == 0


def test_while_a_runner_loads_the_figure_moves_no_further_than_it_must() -> None:
    """Nobody can tell how much of its reservation is in use already."""
    budget = Budget(4)
    seen(budget, free=90)
    assert seen(budget, free=60, uncertain=50) == 10
    assert seen(budget, free=20, uncertain=50) == 30
    assert seen(budget, free=60, uncertain=50) == 30


def test_places_and_groups_are_counted_as_memory_is() -> None:
    """One rule decides everything; they are no bytes."""
    taken = claims(Terms(exclusive_groups=("big",)), {"gpu": 10})
    assert taken == {"gpu": 10, PLACES: 1, "#group:big": 1}
    assert memory(taken) == {"gpu": 10}
    budget = Budget(2)
    assert (budget.limit(PLACES), budget.limit("#group:big")) == (2, 1)


def test_an_owners_share() -> None:
    """What one instance needs beyond it is refused, not waited for."""
    budget = Budget(4)
    device = DeviceMemory("gpu", 100, 100, limit=90, share=50)
    budget.observe([device], held={}, uncertain={})
    assert budget.has_shares
    assert [budget.over_share({"gpu": n}) for n in (50, 51)] == [False, True]
    assert not budget.over_share({"ram": 1000})


def room(taken: int, leaving: int = 0) -> Room:
    """What is left of 90 bytes."""
    budget = Budget(10)
    seen(budget, free=100)
    return Room(budget, [{"gpu": taken}], [{"gpu": leaving}])


def test_it_must_fit_now_and_later() -> None:
    """Who goes has not gone yet; what is set aside for others stays free."""
    assert room(80).fits({"gpu": 10})
    assert not room(80, leaving=80).fits({"gpu": 20})
    assert room(80, leaving=80).lack({"gpu": 20}) == {}
    kept = room(40, leaving=40)
    kept.set_aside({"gpu": 80})
    assert kept.lack({"gpu": 20}) == {"gpu": 10}
    assert not kept.fits({"gpu": 20})
    assert kept.short({"gpu": 20, "unknown": 10**9}) == {"gpu"}


def test_nothing_lacks_nothing() -> None:
    """A runner that needs nothing of a full device may start."""
    assert room(1000).fits({"gpu": 0, "ram": 10**9})


def test_what_starts_is_taken() -> None:
    """In the same round of decisions."""
    left = room(50)
    left.take({"gpu": 30})
    assert not left.fits({"gpu": 11})
    assert left.fits({"gpu": 10})
