"""Who goes when runners hold more than they may, before the kernel decides.

Needs are foretold, and may be foretold wrong; what runners hold grows while they work, and so does
what other programs take.  What counts here is what ready runners were seen to hold, and what is
reserved for those that load.  Only idle runners go, and never the last one: a model that is alone
cannot be helped by loading it again.
"""

from __future__ import annotations

from collections.abc import Mapping

from runnerd.scheduler.budget import Budget, memory
from runnerd.scheduler.decisions import Decision, RunnerKey, RunnerState, StopReason
from runnerd.scheduler.eviction import Candidate, choose
from runnerd.scheduler.pool import Pool, instances, stop
from runnerd.scheduler.queue import Queue


def relieve(
    pools: Mapping[RunnerKey, Pool], queue: Queue, budget: Budget, now: float
) -> list[Decision]:
    """Stop idle runners until the rest fits, as far as they suffice."""
    excess = _excess(pools, budget)
    alive = sum(len(pool.alive()) for pool in pools.values())
    if not excess or alive < 2:
        return []
    idle = [
        Candidate(pool, instance, now)
        for pool, instance in instances(pools)
        if instance.idle and not pool.terms.pinned and not queue.count(pool.key)
    ]
    chosen = choose(excess, idle, now)
    if chosen is None:
        chosen = [
            each for each in idle if any(each.instance.claims.get(name, 0) for name in excess)
        ]
    if len(chosen) == alive:
        chosen = sorted(chosen, key=lambda each: each.price(now))[:-1]
    return [stop(each.pool, each.instance, StopReason.EVICTED) for each in chosen]


def _excess(pools: Mapping[RunnerKey, Pool], budget: Budget) -> dict[str, int]:
    """Return by how much each device is overdrawn by those who stay."""
    taken: dict[str, int] = {}
    for _, instance in instances(pools):
        if instance.state is RunnerState.STOPPING:
            continue
        loads = instance.state is RunnerState.STARTING
        amounts = memory(instance.claims) if loads else instance.held or {}
        for name, amount in amounts.items():
            taken[name] = taken.get(name, 0) + amount
    excess = {}
    for name, amount in taken.items():
        limit = budget.limit(name)
        if limit is not None and amount > limit:
            excess[name] = amount - limit
    return excess
