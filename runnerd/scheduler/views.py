"""The scheduler's state on view."""

from __future__ import annotations

from collections.abc import Mapping

from runnerd.scheduler.budget import memory
from runnerd.scheduler.decisions import FailureView, Limits, RunnerKey, RunnerState, RunnerView
from runnerd.scheduler.line import Waiting
from runnerd.scheduler.pool import Pool, instances
from runnerd.scheduler.queue import Queue


def runner_views(
    pools: Mapping[RunnerKey, Pool], queue: Queue, keep_alive: float
) -> list[RunnerView]:
    """Return all runners, in the order of their starts; `keep_alive` is the default one."""
    return [
        RunnerView(
            key=pool.key,
            generation=instance.generation,
            state=instance.state,
            leases=len(instance.leases),
            waiting=queue.count(pool.key),
            used_at=instance.used_at,
            keep_alive=pool.keep_alive(keep_alive),
            expires_at=pool.expires_at(instance, keep_alive),
            reserved=memory(instance.claims),
            held=instance.held,
            slots=instance.slots,
            pinned=pool.terms.pinned,
            draining=instance.draining,
        )
        for pool, instance in sorted(instances(pools), key=lambda pair: pair[1].generation)
    ]


def failure_views(pools: Mapping[RunnerKey, Pool]) -> list[FailureView]:
    """Return the pools that have failed and have no runner."""
    return [
        FailureView(
            key=pool.key,
            failure=pool.failures.failure,
            failures=pool.failures.failures,
            failed_at=pool.failures.failed_at,
            retry_at=pool.failures.retry_at,
            refuses=pool.failures.refuses,
        )
        for pool in pools.values()
        if pool.failures.failure is not None and not pool.instances
    ]


def stranded(
    pools: Mapping[RunnerKey, Pool],
    queue: Queue,
    *,
    limits: Limits,
    noted: bool,
    jobs_begin: bool,
    now: float,
) -> list[int]:
    """Return the tickets that wait for what will not come; `noted` says that time will decide,
    `jobs_begin` whether jobs may begin now.
    """
    moving = any(
        instance.leases or instance.state is not RunnerState.READY
        for _, instance in instances(pools)
    )
    return [
        waiting.ticket
        for waiting in queue.all()
        if not (moving or noted)
        or waiting.since + limits.queue_timeout < now
        or ((jobs_begin or not waiting.background) and _has_room(pools, waiting, limits, now))
    ]


def _has_room(
    pools: Mapping[RunnerKey, Pool], waiting: Waiting, limits: Limits, now: float
) -> bool:
    found = pools[waiting.key].choose(
        waiting.affinity,
        limits.overcommit,
        client=waiting.client,
        now=now,
        background=waiting.background,
        long=waiting.long,
    )
    return found is not None
