"""File descriptors: as many as the system lets us have, and some kept back for our own needs.

Every client is one, and one more while an engine answers it.  Engines take some to start and a few
for as long as they live, and so do pulls, logs and looks at the host.  Clients that only keep their
connections open must not take what it takes to serve one of them.
"""

from __future__ import annotations

import contextlib
import resource

_OWN = 24  # of a daemon with nothing to do
_ENGINES = 512  # for engines and files, or half of the rest if that is less
_FEWEST = 4


def raise_limit() -> None:
    """Allow as many open files as the system lets us."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def most_clients(wanted: int) -> int:
    """Return how many connections of clients can be held, `wanted` at most."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    rest = soft - _OWN
    return max(_FEWEST, min(wanted, (rest - min(_ENGINES, rest // 2)) // 2))
