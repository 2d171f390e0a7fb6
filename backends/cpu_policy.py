"""Engines that have a crowd to serve are scheduled as batch processes, others as any process is.

llama-server wakes the threads of all its clients for each token of any of them.  Threads of a batch
process do not push the one that computes off its core when they wake (sched(7)): with many clients
that brings tokens.  But they do not push anybody else off either, and beside other programs that
keep the cores busy a client's thread then waits milliseconds for each thing that it has to do.
Many clients do not feel that, because the engine has something else to compute meanwhile; with few
it costs more than half of the throughput.  So what decides is how many there are.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Protocol, runtime_checkable

log = logging.getLogger(__name__)


@runtime_checkable
class CpuPolicy(Protocol):
    """What a backend offers beside its contract if its engines care how many they serve."""

    def crowded(self, socket: Path, is_crowded: bool) -> None:
        """Note whether the engine of the run on `socket` has a crowd to serve, from now on.

        Harmless where there is no such engine (any more).
        """
        ...


def schedule(pid: int, *, batch: bool) -> None:
    """Schedule all threads of a process of ours as a batch process, or as any other.

    Needs no privileges, either way.  Where it is forbidden, or where somebody has given the daemon
    itself another policy, which its engines have from it, nothing changes.
    """
    if os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK != os.SCHED_OTHER:
        return
    policy = os.SCHED_BATCH if batch else os.SCHED_OTHER
    done: set[int] = set()
    try:
        # Again for those that were begun meanwhile: a thread is scheduled as who began it.
        while threads := {int(name) for name in os.listdir(f"/proc/{pid}/task")} - done:
            for thread in threads:
                _schedule(thread, policy)
            done |= threads
    except OSError as error:
        log.debug("process %d is scheduled as it was: %s", pid, error)


def _schedule(thread: int, policy: int) -> None:
    try:
        os.sched_setscheduler(thread, policy, os.sched_param(0))
    except ProcessLookupError:
        pass  # it has ended
