"""How much memory of its own an engine can come to: a limit in the kernel, from its first moment.

It is RLIMIT_DATA: writable private memory, which is what a model's cache, its buffers and a runaway
template take, and not the mapped weights.  An engine that asks for more gets an error from its
allocator and says so in its log; nobody else notices.  The kernel counts what is asked for, used or
not, so there is room for buffers that are reserved and never touched and for the stacks of threads.
"""

from __future__ import annotations

import contextlib
import os
import resource

_UNTOUCHED = 2 * 2**30  # buffers for outputs that are never asked for, arenas of the allocator
_STACKS = 16 * 2**20  # per processor: the threads that compute, and those that answer
_DRIVER = 8 * 2**30  # CUDA's or ROCm's own, where there is a GPU; not measured
_NODES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
_HAS_DRIVER = any(os.path.exists(node) for node in _NODES)  # looked at once, not on the event loop


def data_limit(ram_bytes: int) -> int:
    """Return the RLIMIT_DATA of an engine that is to hold at most so much RAM."""
    stacks = _STACKS * (os.cpu_count() or 1)
    return ram_bytes + _UNTOUCHED + stacks + (_DRIVER if _HAS_DRIVER else 0)


def follow(pid: int, ram_bytes: int) -> None:
    """Let a running engine come to at most so much RAM from now on; what it has it keeps."""
    with contextlib.suppress(OSError, ValueError):  # it is gone, or another user's
        soft, hard = resource.prlimit(pid, resource.RLIMIT_DATA)
        if soft != resource.RLIM_INFINITY:
            wanted = data_limit(ram_bytes)
            wanted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.prlimit(pid, resource.RLIMIT_DATA, (wanted, hard))
