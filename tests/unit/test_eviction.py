"""runnerd.scheduler.eviction: who goes when room is needed."""

from __future__ import annotations

from runnerd.scheduler.decisions import RunnerKey, RunnerState
from runnerd.scheduler.eviction import Candidate, choose
from runnerd.scheduler.pool import Instance, Pool

NOW = 1000.0


def candidate(
    number: int,
    *,
    size: int,
    used_at: float = 0.0,
    load: float = 1.0,
    leases: int = 0,
    **claims: int,
) -> Candidate:
    """A runner that takes `size` of the GPU."""
    pool = Pool(RunnerKey("llama.cpp", str(number), "completion", ""), load_seconds=load)
    instance = Instance(number, RunnerState.READY, {"gpu": size, **claims}, 0.0, used_at)
    instance.leases = dict.fromkeys(range(leases), 0.0)
    return Candidate(pool, instance, NOW)


def chosen(lack: dict[str, int], *candidates: Candidate) -> list[int] | None:
    found = choose(lack, candidates, NOW)
    return None if found is None else sorted(each.instance.generation for each in found)


def test_who_was_idle_for_long_and_loads_quickly_is_missed_least() -> None:
    """The price is what it costs to have it back, for each second without it."""
    old, recent = candidate(1, size=10), candidate(2, size=10, used_at=990.0)
    slow = candidate(3, size=10, load=500.0)
    assert chosen({"gpu": 5}, recent, slow, old) == [1]
    assert chosen({"gpu": 5}, recent, slow) == [2]
    assert chosen({"gpu": 5}, candidate(4, size=10, leases=1), slow) == [3]


def test_one_that_suffices_alone_goes_rather_than_several() -> None:
    """Also where each of the others would be cheaper."""
    small = [candidate(number, size=2) for number in (1, 2, 3)]
    assert chosen({"gpu": 5}, *small, candidate(4, size=10, used_at=900.0)) == [4]


def test_nobody_goes_whose_place_does_not_help() -> None:
    """Nor without whom it suffices as well."""
    elsewhere = candidate(1, size=0, ram=50)
    assert chosen({"gpu": 6}, elsewhere, candidate(2, size=3), candidate(3, size=3)) == [2, 3]
    busy = [candidate(number, size=number, leases=1) for number in (1, 2, 9)]
    assert chosen({"gpu": 8}, *busy) == [9]


def test_all_together_may_not_suffice() -> None:
    """Then nobody goes; for nothing that is missing nobody does, either."""
    assert chosen({"gpu": 7}, candidate(1, size=3), candidate(2, size=3)) is None
    assert chosen({"gpu": 1, "ram": 1}, candidate(1, size=3)) is None
    assert chosen({}, candidate(1, size=3)) == []
