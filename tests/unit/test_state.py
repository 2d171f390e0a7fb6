"""runnerd.jobs.sqlite.state: what the queue goes by, and who is told."""

from __future__ import annotations

import pytest

from runnerd.access import Principal, user_principal
from runnerd.errors import Unauthorized
from runnerd.jobs.job import NewJob
from runnerd.jobs.sqlite.state import QueueRules

ANN, BOB, GONE = (user_principal(name, "k") for name in ("ann", "bob", "gone"))


def most(principal: Principal) -> int:
    asked.append(principal.id)
    if principal == GONE:
        raise Unauthorized("this user is gone")
    return 3 if principal == ANN else 0


asked: list[str] = []


def job(principal: Principal, priority: int) -> NewJob:
    return NewJob(principal, "m", (), priority=priority)


def test_nobody_has_more_of_a_head_start_than_allowed() -> None:
    """Each principal is asked for once; less than that is nobody's business."""
    asked.clear()
    rules = QueueRules(most_priority=most)
    jobs = [job(ANN, 9), job(BOB, 9), job(ANN, 2), job(BOB, -1)]
    allowed = rules.allowed(jobs)
    assert [each.priority for each in allowed] == [3, 0, 2, -1]
    assert allowed[2] is jobs[2]
    assert asked == [ANN.id, BOB.id]


def test_who_may_do_nothing_any_more_has_no_job() -> None:
    """Not even beside others' jobs."""
    with pytest.raises(Unauthorized):
        QueueRules(most_priority=most).allowed([job(ANN, 0), job(GONE, 0)])
