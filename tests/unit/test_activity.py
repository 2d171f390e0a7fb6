"""runnerd.resources.activity: which threads of a process compute."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from runnerd.resources.activity import busy_threads, foreign_user, thread_times
from runnerd.resources.ram import process_ram


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


def test_a_program_may_be_called_anything(tmp_path: Path) -> None:
    """The kernel cuts a name after 15 bytes, also where that leaves no text of any encoding."""
    program = tmp_path / "fünfzehn-größen"  # 15 characters: the last but one is cut in two
    program.symlink_to("/bin/sleep")
    process = subprocess.Popen([program, "60"])
    try:
        assert str(process.pid) in thread_times(process.pid)
        assert process_ram(process.pid) > 0
    finally:
        process.kill()
        process.wait()


def test_whose_a_process_is() -> None:
    """Only that of somebody else has a user that is worth a word."""
    assert foreign_user(os.getpid()) is None
    assert foreign_user(2**22 + 1) is None
