"""Jobs, their ids and states."""

from __future__ import annotations

import re

import pytest

from runnerd.access import owner_principal
from runnerd.jobs.job import (
    Job,
    JobState,
    NewJob,
    as_chosen,
    chosen_id,
    is_id,
    new_id,
    queued,
)


def test_ids() -> None:
    """32 hexadecimal digits, no two alike."""
    ids = [new_id() for _ in range(100)]
    assert len(set(ids)) == 100
    assert all(re.fullmatch("[0-9a-f]{32}", id) and is_id(id) for id in ids)


@pytest.mark.parametrize("text", ["", "a/b", "a b", "é", "-", "x" * 65, "a\n"])
def test_what_is_no_id(text: str) -> None:
    """Nothing that would have to be quoted in a path."""
    assert not is_id(text)


def test_chosen_ids() -> None:
    """Each is of one principal alone, and shown as it was chosen."""
    ids = {chosen_id(who, "mine") for who in ("user a", "user b", "uid 1000")}
    assert len(ids) == 3
    assert {as_chosen(id) for id in ids} == {"mine"}
    assert not any(is_id(id) for id in ids)
    assert as_chosen(new_id()[:3]) == new_id()[:3]


def test_states() -> None:
    """Two of them are not the end."""
    assert [state for state in JobState if not state.ended] == ["queued", "running"]


def test_runtime() -> None:
    """Of the attempt that runs, or was the last one."""
    job = queued("x", NewJob(owner_principal(0), "m", ()), 1.0)
    assert isinstance(job, Job)
    assert job.seconds(9.0) == 0.0
    assert Job("x", job.principal, "m", JobState.RUNNING, 1.0, started=2.0).seconds(9.0) == 7.0
    ended = Job("x", job.principal, "m", JobState.FAILED, 1.0, started=2.0, ended=5.0)
    assert ended.seconds(9.0) == 3.0
