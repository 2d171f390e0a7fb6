"""The daemon's own time slices."""

from __future__ import annotations

import ctypes
import os
import platform
from concurrent.futures import ThreadPoolExecutor

import pytest

from runnerd import time_slice


def in_a_thread_of_its_own() -> tuple[int, int, int]:
    """Return the policy of a thread with short slices, its priority, and its child's policy."""
    time_slice.shorten()
    policy, priority = os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writing, b"%d" % os.sched_getscheduler(0))
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with open(reading, "rb") as said:
        return policy, priority, int(said.read())


@pytest.mark.skipif(os.sched_getscheduler(0) != os.SCHED_OTHER, reason="has another policy")
def test_policy_and_priority_stay_and_children_have_nothing_of_it() -> None:
    """Only the slices are others, and only this thread's."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with ThreadPoolExecutor(1) as pool:
        policy, priority, of_child = pool.submit(in_a_thread_of_its_own).result()
    assert policy & ~os.SCHED_RESET_ON_FORK == os.SCHED_OTHER
    assert priority == before
    assert of_child == os.SCHED_OTHER
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def the_slice() -> int:
    """Have short slices; return how long they are, in nanoseconds, as the kernel says; 0 where it
    knows none.
    """
    time_slice.shorten()
    attributes = ctypes.create_string_buffer(time_slice._ATTRIBUTES.size)
    call = time_slice._SCHED_SETATTR[platform.machine()] + 1  # sched_getattr
    libc = ctypes.CDLL(None)
    assert libc.syscall(ctypes.c_long(call), 0, attributes, len(attributes.raw), 0) == 0
    return int(time_slice._ATTRIBUTES.unpack(attributes.raw)[5])


@pytest.mark.skipif(platform.machine() not in time_slice._SCHED_SETATTR, reason="not known there")
@pytest.mark.skipif(os.sched_getscheduler(0) != os.SCHED_OTHER, reason="has another policy")
def test_a_slice_has_room_for_what_comes_at_once() -> None:
    """Who is interrupted within it finds its caches used by others."""
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(the_slice).result() in (0, 1_000_000)
