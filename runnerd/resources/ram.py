"""What is free of RAM: what the kernel calls available, within the limits of our control groups.

In a container the machine's memory says little: the group's limit decides, and reaching it ends in
an out-of-memory kill.  Page cache counts as free, in a group as on the machine: it goes when it has
to, and the pages of memory-mapped weights are part of it.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

import psutil

_ROOT = Path("/sys/fs/cgroup")
_SELF = Path("/proc/self/cgroup")


def ram(root: Path = _ROOT, membership: Path = _SELF) -> tuple[int, int]:
    """Return RAM's total and free bytes, the tightest limit counting."""
    memory = psutil.virtual_memory()
    total, free = int(memory.total), int(memory.available)
    for limit_file, used_file, statistics, name in _groups(root, membership):
        limit = _number(limit_file)
        if limit is None or limit >= total:
            continue
        used = _number(used_file)
        if used is None:
            continue
        cache = _statistic(statistics, name)
        total = min(total, limit)
        free = min(free, max(0, limit - used + cache))
    return total, free


def process_ram(pid: int) -> int:
    """Return the bytes of RAM that a process would give back: its own pages, not the page cache."""
    return _resident(pid, ("RssAnon:", "RssShmem:"))


def process_mapped(pid: int) -> int:
    """Return the bytes of files that a process has mapped and that are in RAM: its weights, and
    its program.
    """
    return _resident(pid, ("RssFile:",))


def _resident(pid: int, kinds: tuple[str, ...]) -> int:
    """Sum up lines of the process's status: counters of the kernel, nothing is walked for them."""
    try:
        text = Path(f"/proc/{pid}/status").read_text("utf-8", "replace")
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith(kinds))


_Group = tuple[str, str, str, str]
"""A group's files: its limit, what it uses, its statistics, and the name of the cache in these."""


def _groups(root: Path, membership: Path) -> tuple[_Group, ...]:
    """Our memory group and those above it."""
    try:
        return _named(root, _content(str(membership)))
    except OSError:
        return ()


@functools.lru_cache(maxsize=4)
def _named(root: Path, membership: str) -> tuple[_Group, ...]:
    """Their files' names, which are others once we are put into another group."""
    second = ("memory.max", "memory.current", "inactive_file")
    first = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    found = []
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        top, names = (root, second) if not controllers else (root / "memory", first)
        if controllers and "memory" not in controllers.split(","):
            continue
        folder = top / path.lstrip("/")
        while folder != top.parent and top in (folder, *folder.parents):
            limit, used = (str(folder / name) for name in names[:2])
            found.append((limit, used, str(folder / "memory.stat"), names[2]))
            folder = folder.parent
    return tuple(found)


def _content(file: str) -> str:
    """A small file of the kernel's.  Looked at up to twenty times a second: so in a simple way."""
    with open(file, "rb", buffering=0) as opened:
        return os.fsdecode(opened.read())


def _number(file: str) -> int | None:
    try:
        return int(_content(file))
    except (OSError, ValueError):  # no such file, or "max"
        return None


def _statistic(file: str, name: str) -> int:
    try:
        for line in _content(file).splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    except (OSError, ValueError):
        pass
    return 0
