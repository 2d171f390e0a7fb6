"""Other programs on the same cores: what every host has, and what an idle one hides.

A neighbour computes without a pause, in a session of its own, as somebody else's program would: the
kernel may share a core between sessions first and between their threads afterwards (autogroups).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

# It ends with whoever has started it, however that ends.
_BURN = """
import os
parent = os.getppid()
while os.getppid() == parent:
    for _ in range(100_000):
        pass
"""


def as_many_as_cores() -> int:
    """Return how many neighbours keep all cores busy that this process may use."""
    return len(os.sched_getaffinity(0))


@contextlib.contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Keep so many cores busy meanwhile."""
    busy: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(count):
            busy.append(subprocess.Popen([sys.executable, "-c", _BURN], start_new_session=True))
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()
