"""What the daemon keeps from others of its user: its memory, and secrets in its environment.

Whoever may trace a process reads its memory, and every process of its user reads the environment
that it was started with, for as long as it lives.  Engines run as the daemon's user.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Collection, Iterator

_PR_SET_DUMPABLE = 4


def close_to_others() -> None:
    """Let nobody but root trace this process, look into its /proc, or have its core."""
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, ctypes.c_ulong(0), 0, 0, 0)


def take_from_environment(names: Collection[str]) -> dict[str, str]:
    """Take variables out of the environment, and out of the memory that it was handed over in.

    Returns those that were set, by the names given, whatever their case was.
    """
    wanted = {name.upper(): name for name in names}
    found = {
        name: (wanted[name.upper()], value)
        for name, value in os.environ.items()
        if name.upper() in wanted
    }
    for address, name in _original():
        if name in found:
            ctypes.memset(address + len(name) + 1, 0, len(os.fsencode(found[name][1])))
    for name in found:
        del os.environ[name]
    return dict(found.values())


def _original() -> Iterator[tuple[int, str]]:
    """The environment in the C library's hands: where each line is, and its name."""
    lines = ctypes.POINTER(ctypes.c_void_p).in_dll(ctypes.CDLL(None), "environ")
    for number in range(len(os.environ) + 1):
        if not lines or (address := lines[number]) is None:
            return
        yield address, os.fsdecode(ctypes.string_at(address)).partition("=")[0]
