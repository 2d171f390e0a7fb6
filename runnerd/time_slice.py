"""The daemon's own time slices: short, so that it is served at once when it has something to do.

A process that wakes on a busy core waits for whoever computes there to use its slice up, some
milliseconds, unless its own slice is shorter (EEVDF, Linux 6.12).  The relay wakes for every
request and every piece of a response and works for some ten microseconds; beside programs that
keep the cores busy each of its steps would cost its clients such a wait.  It gets no larger share
of the processor by this.

Not the shortest slices that there are: what comes at once, some 30 responses, is a millisecond of
work, and who is interrupted in the middle of it finds its caches used by others each time.
"""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import struct

log = logging.getLogger(__name__)

_SLICE = 1_000_000  # nanoseconds; others have some three times as much
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}  # system calls
_RESET_ON_FORK = 1  # engines have slices as everybody has
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")  # sched_setattr(2), as of its first version


def shorten() -> None:
    """Ask for short slices for the calling thread.  Needs no privileges.

    Nothing changes where somebody has given the daemon another policy or a priority, which its
    engines have from it, nor on kernels that know no slices.
    """
    call, nice = _SCHED_SETATTR.get(platform.machine()), os.getpriority(os.PRIO_PROCESS, 0)
    if call is None or nice < 0 or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return
    attributes = _ATTRIBUTES.pack(
        _ATTRIBUTES.size, os.SCHED_OTHER, _RESET_ON_FORK, nice, 0, _SLICE, 0, 0
    )
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(ctypes.c_long(call), 0, attributes, 0) != 0:
        reason = os.strerror(ctypes.get_errno())
        log.debug("the daemon's time slices are as they were: %s", reason)
