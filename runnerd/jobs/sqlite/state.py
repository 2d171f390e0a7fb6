"""What the two sides of the queue share: the database, the clock, and who is to be told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from uuid import uuid4

from runnerd.access import Principal
from runnerd.database import Database
from runnerd.jobs.changes import Changes, WorkSignal
from runnerd.jobs.clock import SteadyClock
from runnerd.jobs.job import MOST_PRIORITY, NewJob
from runnerd.jobs.retries import RetryPolicy
from runnerd.jobs.sqlite.leases import Leases
from runnerd.jobs.sqlite.transitions import Ended

MOST_OPEN = 1_000_000
MOST_BYTES = 2**32
MOST_RESULT_BYTES = 2**32


@dataclass(frozen=True, slots=True)
class QueueRules:
    """What the owner says of the queue.  `most_open`: jobs of one principal that have not ended;
    `kept` is how many seconds those that have ended are kept, `most_bytes` how much the prompts
    of all of them may take, `most_results` how many bytes their output and responses may.
    `most_priority` is how much of a head start a principal may have, and
    raises for one that may do nothing any more.
    """

    most_open: Callable[[], int] = lambda: MOST_OPEN
    kept: Callable[[], float] = lambda: 7 * 86400.0
    policy: Callable[[], RetryPolicy] = RetryPolicy
    most_bytes: Callable[[], int] = lambda: MOST_BYTES
    most_priority: Callable[[Principal], int] = lambda _: MOST_PRIORITY
    most_results: Callable[[], int] = lambda: MOST_RESULT_BYTES

    def allowed(self, jobs: Iterable[NewJob]) -> list[NewJob]:
        """Jobs with no more of a head start than those may have whose they are.

        Raises errors.Unauthorized.
        """
        found, most = [], {}
        for job in jobs:
            id = job.principal.id
            if id not in most:
                most[id] = self.most_priority(job.principal)
            allowed = job.priority <= most[id]
            found.append(job if allowed else replace(job, priority=most[id]))
        return found


@dataclass(slots=True)
class QueueState:
    """`clock` says Unix time, `passed` counts seconds and is never set.

    `epoch` names the present opening of the database.  It is set in the writer's thread, where it
    is read.
    """

    database: Database
    rules: QueueRules
    clock: Callable[[], float] = field(default_factory=SteadyClock)
    passed: Callable[[], float] = time.monotonic
    changes: Changes = field(default_factory=Changes)
    work: WorkSignal = field(default_factory=WorkSignal)
    leases: Leases = field(init=False)
    epoch: str = field(default_factory=lambda: uuid4().hex)
    look_at_deadlines: float = 0.0  # Unix time

    def __post_init__(self) -> None:
        self.leases = Leases(self.passed)

    def ended(self, ended: Iterable[Ended]) -> None:
        """Tell of jobs that were ended from outside."""
        for each in ended:
            if each.token is not None:
                self.leases.revoke(each.id, each.token)
            self.changes.tell([each.id])

    def deadline(self, deadline: float | None) -> None:
        """A job is to end by a time."""
        if deadline is not None:
            self.look_at_deadlines = min(self.look_at_deadlines, deadline)
