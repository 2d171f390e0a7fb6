"""The scheduler's limits, as the settings say them."""

from __future__ import annotations

import math

from runnerd.config import Settings
from runnerd.supervisor.limits import scheduler_limits


def test_each_setting_has_its_limit() -> None:
    """No two are mistaken for each other."""
    limits = scheduler_limits(
        Settings(
            max_runners=3,
            queue_length=5,
            queue_timeout=7.0,
            idle_timeout=11.0,
            turn=13.0,
            overcommit=17.0,
            jobs={"patience": 19.0},
        )
    )
    assert (limits.capacity, limits.queue_length, limits.queue_timeout) == (3, 5, 7.0)
    assert (limits.keep_alive, limits.quantum, limits.overcommit) == (11.0, 13.0, 17.0)
    assert limits.patience == 19.0


def test_jobs_that_only_work_while_nobody_does_wait_for_ever() -> None:
    """Whatever their patience was before."""
    idle = Settings(jobs={"patience": 19.0, "idle_only": True})
    assert scheduler_limits(idle).patience == math.inf
