"""What is free of RAM: what the kernel calls available, within the limits of our control groups.

In a container the machine's memory says little: the group's limit decides, and reaching it ends in
an out-of-memory kill.  Page cache counts as free, in a group as on the machine: it goes when it has
to, and the pages of memory-mapped weights are part of it.
"""

from __future__ import annotations

from pathlib import Path

import psutil

_ROOT = Path("/sys/fs/cgroup")
_SELF = Path("/proc/self/cgroup")


def ram(root: Path = _ROOT, membership: Path = _SELF) -> tuple[int, int]:
    """Return RAM's total and free bytes, the tightest limit counting."""
    memory = psutil.virtual_memory()
    total, free = int(memory.total), int(memory.available)
    for folder, names in _groups(root, membership):
        limit = _number(folder / names[0])
        used = _number(folder / names[1])
        if limit is None or used is None or limit >= total:
            continue
        cache = _statistic(folder / "memory.stat", names[2])
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
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith(kinds))


def _groups(root: Path, membership: Path) -> list[tuple[Path, tuple[str, str, str]]]:
    """Return the folders of our memory group and those above it, with their files' names."""
    second = ("memory.max", "memory.current", "inactive_file")
    first = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    found = []
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        top, names = (root, second) if not controllers else (root / "memory", first)
        if controllers and "memory" not in controllers.split(","):
            continue
        folder = top / path.lstrip("/")
        while folder != top.parent and top in (folder, *folder.parents):
            found.append((folder, names))
            folder = folder.parent
    return found


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # no such file, or "max"
        return None


def _statistic(file: Path, name: str) -> int:
    try:
        for line in file.read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    except (OSError, ValueError):
        pass
    return 0
