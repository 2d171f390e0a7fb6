"""What a child process may not do, arranged between fork and exec.

An engine runs on files and requests from strangers.  It gets no network: a seccomp filter lets
socket() make Unix sockets only (an image URL in a chat request would otherwise make llama-server
fetch it).  It cannot gain privileges, leaves no core dump, and dies with the daemon.

Everything is prepared in the daemon; in the child only a few system calls remain, since a forked
child of a threaded process must not take locks that another thread held.
"""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import resource
import signal
import struct
import sys
from dataclasses import dataclass
from functools import cache

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_SECCOMP_MODE_FILTER = 2
_OOM_SCORE = b"500"  # of 1000: when memory runs out an engine goes before anything else does
_AF_UNIX = 1
_EACCES = 13

# <linux/filter.h> and <linux/seccomp.h>
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data, little endian
_ALLOW = 0x7FFF0000
_DENY = 0x00050000 | _EACCES
_X32 = 0x40000000  # numbers from here on are the x32 ABI's: another door to socket()


@dataclass(frozen=True, slots=True)
class _Machine:
    audit: int
    socket: int
    io_uring_setup: int  # its ring can make sockets without calling socket()


_MACHINES = {
    "x86_64": _Machine(0xC000003E, 41, 425),
    "aarch64": _Machine(0xC00000B7, 198, 425),
}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


class ChildSetup:
    """What a child does to itself before it becomes the engine: the preexec function.

    `deny_network` adds the seccomp filter.  `data_limit` bounds the writable memory of its own in
    bytes: pages of mapped weights are not among it, nor are address ranges that are only reserved,
    as CUDA does by the hundred gigabytes.  A step that fails ends the child with exit status 126
    and a line on its standard error: an engine never runs with less protection than was asked for.
    It also gives itself a score of its own for the kernel's out-of-memory killer, because the
    daemon's (which the unit lowers) would be inherited.
    """

    def __init__(self, *, deny_network: bool, data_limit: int | None = None) -> None:
        self._parent = os.getpid()
        self._prctl = _libc().prctl
        self._exit = os._exit
        self._write = os.write
        self._getppid = os.getppid
        self._open = os.open
        self._data_limit: tuple[int, int] | None = None
        if data_limit is not None:
            # The soft limit: whoever started it can raise it while it runs (prlimit).
            _, hard = resource.getrlimit(resource.RLIMIT_DATA)
            soft = data_limit if hard == resource.RLIM_INFINITY else min(data_limit, hard)
            self._data_limit = soft, hard
        self._program = _filter_program() if deny_network else None

    def __call__(self) -> None:
        """Run in the child, between fork and exec."""
        if self._prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            self._fail(b"cannot set the parent-death signal\n")
        if self._getppid() != self._parent:  # the daemon died before the signal was armed
            self._exit(126)
        if self._prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            self._fail(b"cannot set no_new_privs\n")
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if self._data_limit is not None:
            resource.setrlimit(resource.RLIMIT_DATA, self._data_limit)
        try:
            self._write(
                self._open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC), _OOM_SCORE
            )
        except OSError:  # without a /proc, or under a policy; no reason not to serve
            pass
        if self._program is not None and self._prctl(
            _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, self._program[0], 0, 0
        ):
            self._fail(b"cannot install the seccomp filter (setting `sandbox`)\n")

    def _fail(self, reason: bytes) -> None:
        self._write(2, b"runnerd: " + reason)
        self._exit(126)


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    word = ctypes.c_ulong
    libc.prctl.argtypes = [ctypes.c_int, word, word, word, word]
    libc.prctl.restype = ctypes.c_int
    return libc


@cache
def _filter_program() -> tuple[int, _Program, ctypes.Array[ctypes.c_char]] | None:
    """Return the filter's address and the objects that keep it alive; None where it is unknown."""
    machine = _MACHINES.get(platform.machine())
    if machine is None or sys.byteorder != "little" or sys.maxsize < 2**32:
        log.warning(
            "engines keep their network access: no filter for this machine (%s)",
            platform.machine(),
        )
        return None
    code = filter_code(machine)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.addressof(buffer))
    return ctypes.addressof(program), program, buffer


def filter_code(machine: _Machine) -> bytes:
    """Return the filter as classic BPF: only AF_UNIX sockets, only this machine's own system calls.

    A jump counts the instructions that it skips.
    """
    instructions = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 0, 7, machine.audit),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 5, 0, _X32),
        (_EQUAL, 4, 0, machine.io_uring_setup),
        (_EQUAL, 0, 2, machine.socket),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_EQUAL, 0, 1, _AF_UNIX),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _DENY),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
