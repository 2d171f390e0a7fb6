"""What the threads of a process compute, as the kernel counts it, and for whom."""

from __future__ import annotations

import os
from pathlib import Path

ThreadTimes = dict[str, int]
"""Processor time of each thread, in clock ticks."""

_USER, _SYSTEM = 11, 12  # fields behind the name, which is in brackets and may be anything
_SHARE = 4  # a thread is busy that has computed a quarter of what the busiest has


def thread_times(pid: int) -> ThreadTimes:
    """What each thread of a process has computed so far; empty if that cannot be known."""
    times = {}
    try:
        for folder in Path(f"/proc/{pid}/task").iterdir():
            fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
            times[folder.name] = int(fields[_USER]) + int(fields[_SYSTEM])
    except OSError:  # not Linux; or one has just ended: the others are looked at next time
        return {}
    return times


def busy_threads(before: ThreadTimes, after: ThreadTimes) -> int:
    """How many threads have computed between two looks, and not only a little beside others."""
    spent = [time - before.get(thread, 0) for thread, time in after.items()]
    most = max(spent, default=0)
    return sum(each * _SHARE >= most for each in spent) if most > 0 else 0


def foreign_user(pid: int) -> int | None:
    """The uid that a process runs as; None where that is ours, or cannot be known."""
    try:
        status = Path(f"/proc/{pid}/status").read_bytes()
    except OSError:
        return None
    words = status.partition(b"\nUid:")[2].split(maxsplit=1)
    uid = int(words[0]) if words else os.geteuid()
    return None if uid == os.geteuid() else uid
