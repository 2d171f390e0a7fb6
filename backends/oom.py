"""Whether the kernel's out-of-memory killer struck in our control group.

SIGKILL does not say who sent it.  The group's counter of out-of-memory kills does, where it can be
read: cgroup v2's `memory.events`, v1's `memory.oom_control`.
"""

from __future__ import annotations

from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


class OomCounter:
    """Remembers the count at its construction."""

    def __init__(self) -> None:
        self._file = _counter_file()
        self._before = _read(self._file)

    def rose(self) -> bool | None:
        """Return whether the count has risen since; None where it cannot be known."""
        now = _read(self._file)
        if now is None or self._before is None:
            return None
        return now > self._before


def _counter_file() -> Path | None:
    try:
        lines = _OWN.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return None
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, separator, path = rest.partition(":")
        if not separator:  # no line of this file's (cgroups(7))
            continue
        if "memory" in controllers.split(","):
            return _ROOT / "memory" / path.lstrip("/") / "memory.oom_control"
        if controllers == "":
            unified = _ROOT / path.lstrip("/") / "memory.events"
            if unified.exists():
                return unified
    return None


def _read(file: Path | None) -> int | None:
    if file is None:
        return None
    try:
        for line in file.read_text("utf-8").splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    except (OSError, ValueError):
        return None
    return None
