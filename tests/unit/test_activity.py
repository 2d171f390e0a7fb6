"""runnerd.resources.activity: which threads of a process compute."""

from __future__ import annotations

import os
import subprocess

import pytest

from runnerd.resources.activity import busy_threads, thread_times


@pytest.mark.parametrize(
    ("before", "after", "busy"),
    [
        ({}, {}, 0),
        ({"1": 5}, {"1": 5}, 0),
        ({"1": 5, "2": 0}, {"1": 105, "2": 100}, 2),
        ({"1": 5, "2": 0}, {"1": 105, "2": 24}, 1),
        ({"1": 5, "2": 0}, {"1": 105, "2": 25}, 2),
        ({"1": 5}, {"2": 50}, 1),
    ],
)
def test_a_thread_is_busy_beside_the_busiest(
    before: dict[str, int], after: dict[str, int], busy: int
) -> None:
    """With a quarter of what that one has computed; one that is new has computed all of its own."""
    assert busy_threads(before, after) == busy


def test_every_thread_of_this_process_is_seen() -> None:
    """By its number."""
    times = thread_times(os.getpid())
    assert str(os.getpid()) in times
    assert all(time >= 0 for time in times.values())


def test_a_process_that_is_gone_has_none() -> None:
    """Which is nothing to fail for."""
    process = subprocess.Popen(["true"])
    process.wait()
    assert thread_times(process.pid) == {}
