"""Which system calls a child may not make: a seccomp filter, in classic BPF.

The files that a child may open are Landlock's business (`landlock`).  This list is for what it
does not know, or not on every kernel: the network, connections to other programs' Unix sockets,
other processes' memory and signals, namespaces, mounts, keys, and doors into the kernel that no
engine needs.  What it refuses fails with EACCES; `clone3`, whose flags a filter cannot see, with
ENOSYS, upon which C libraries use `clone`.

There are bindings to libseccomp, but none that comes with it, and a host may be without; the filter
is a list and a few comparisons.
"""

from __future__ import annotations

import ctypes
import logging
import platform
import struct
import sys
from dataclasses import dataclass
from functools import cache

log = logging.getLogger(__name__)

_AF_UNIX, _SOCK_STREAM, _SOCK_SEQPACKET, _TYPE_MASK = 1, 1, 5, 0xF
_EACCES, _ENOSYS = 13, 38
# CLONE_NEWTIME is a signal number to clone(); it means what it says to clone3 and unshare only.
_NEW_NAMESPACES = 0x7E020000

# <linux/filter.h> and <linux/seccomp.h>
_LOAD, _AND, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_X32 = 0x40000000  # numbers from here on are the x32 ABI's: another door to every call

_SIGNALS = ("kill", "tgkill")
_CHECKED = ("socket", "socketpair", "sendto", "clone", "prlimit64")

# name: x86_64, aarch64 (None where there is none)
_CALLS: dict[str, tuple[int, int | None]] = {
    # calls whose arguments decide
    "socket": (41, 198), "socketpair": (53, 199), "sendto": (44, 206), "clone": (56, 220),
    "clone3": (435, 435), "prlimit64": (302, 261), "kill": (62, 129), "tgkill": (234, 131),
    # other programs' sockets, by path or by name
    "connect": (42, 203),
    # its ring does what calls of other names do
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "process_mrelease": (448, 448), "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424), "kcmp": (312, 272), "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "migrate_pages": (256, 238),
    # namespaces and mounts
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "chroot": (161, 51), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "move_mount": (429, 429), "open_tree": (428, 428),
    "mount_setattr": (442, 442), "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264),
    # memory and messages that are found by a number, not by a path
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "semget": (64, 190),
    "semctl": (66, 191), "semop": (65, 193), "semtimedop": (220, 192), "msgget": (68, 186),
    "msgctl": (71, 187), "msgsnd": (69, 189), "msgrcv": (70, 188), "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    # the kernel's keys, programs and counters
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "fanotify_init": (300, 262),
    "lookup_dcookie": (212, 18), "syslog": (103, 116), "modify_ldt": (154, None),
    # the host
    "swapon": (167, 224), "swapoff": (168, 225), "reboot": (169, 142), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "acct": (163, 89), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "iopl": (172, None), "ioperm": (173, None),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266),
    "adjtimex": (159, 171), "sethostname": (170, 161), "setdomainname": (171, 162),
    "vhangup": (153, 58), "nfsservctl": (180, 42),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Machine:
    """A kind of processor: its number in the audit system, and its numbers of system calls."""

    audit: int
    column: int

    def number(self, name: str) -> int | None:
        """The number of a call, None where there is no such call."""
        return _CALLS[name][self.column]

    @property
    def refused(self) -> list[int]:
        """The calls that are refused whatever their arguments, except clone3."""
        special = {*_CHECKED, *_SIGNALS, "clone3"}
        numbers = (self.number(name) for name in _CALLS if name not in special)
        return [number for number in numbers if number is not None]


MACHINES = {"x86_64": Machine(0xC000003E, 0), "aarch64": Machine(0xC00000B7, 1)}


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter in memory: `address` is what prctl takes, `pid_at` where its own number goes."""

    address: int
    code: ctypes.Array[ctypes.c_char]
    pid_at: tuple[int, ...]
    kept: object  # what `address` points to

    def own(self, pid: int) -> None:
        """Let it be the filter of this process: signals go to it alone.  For the child itself."""
        for at in self.pid_at:
            ctypes.memmove(ctypes.addressof(self.code) + at, pid.to_bytes(4, "little"), 4)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


@cache
def machine() -> Machine | None:
    """This machine, None where no filter is known for it."""
    if sys.byteorder != "little" or sys.maxsize < 2**32:
        return None
    return MACHINES.get(platform.machine())


def make_filter(*, signals: bool) -> Filter | None:
    """The filter for this machine, None where there is none.

    `signals` has it refuse signals to others, which Landlock does where it can.
    """
    if (this := machine()) is None:
        return None
    code, pid_at = filter_code(this, signals=signals)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.addressof(buffer))
    return Filter(ctypes.addressof(program), buffer, pid_at, program)


def filter_code(machine: Machine, *, signals: bool) -> tuple[bytes, tuple[int, ...]]:
    """The filter's instructions, and where the child's own number goes in them."""
    block = _Block()
    block.put(_LOAD, _ARCHITECTURE)
    block.jump(_EQUAL, machine.audit, otherwise="deny")
    block.put(_LOAD, _NUMBER)
    block.jump(_AT_LEAST, _X32, then="deny")
    for number in machine.refused:
        block.jump(_EQUAL, number, then="deny")
    block.jump(_EQUAL, _number(machine, "clone3"), then="absent")
    for name in (*_CHECKED, *(_SIGNALS if signals else ())):
        block.jump(_EQUAL, _number(machine, name), then=name)
    block.put(_RETURN, _ALLOW, label="allow")
    # Only streams between Unix sockets: a datagram can go to any socket, by its name.
    block.put(_LOAD, _low(0), label="socket")
    block.jump(_EQUAL, _AF_UNIX, otherwise="deny")
    block.put(_LOAD, _low(1), label="socketpair")
    block.put(_AND, _TYPE_MASK)
    block.jump(_EQUAL, _SOCK_STREAM, then="allow_now")
    block.jump(_EQUAL, _SOCK_SEQPACKET, then="allow_now", otherwise="deny")
    block.put(_LOAD, _low(4), label="sendto")  # the address: none
    block.jump(_EQUAL, 0, otherwise="deny")
    block.put(_LOAD, _low(4) + 4)
    block.jump(_EQUAL, 0, then="allow_now", otherwise="deny")
    block.put(_LOAD, _low(0), label="clone")
    block.jump(_ANY_BIT, _NEW_NAMESPACES, then="deny", otherwise="allow_now")
    block.put(_LOAD, _low(0), label="prlimit64")  # the process: itself
    block.jump(_EQUAL, 0, then="allow_now", otherwise="deny")
    pid_at: tuple[int, ...] = ()
    if signals:
        block.put(_LOAD, _low(0), label="kill")
        block.labels["tgkill"] = block.labels["kill"]
        pid_at = (len(block) * 8 + 4,)
        block.jump(_EQUAL, 0, then="allow_now", otherwise="deny")
    block.put(_RETURN, _ALLOW, label="allow_now")
    block.put(_RETURN, _ERROR | _EACCES, label="deny")
    block.put(_RETURN, _ERROR | _ENOSYS, label="absent")
    return block.assembled(), pid_at


def _number(machine: Machine, name: str) -> int:
    number = machine.number(name)
    assert number is not None
    return number


def _low(argument: int) -> int:
    """Where the lower half of an argument is, on a little-endian machine."""
    return _ARGUMENTS + 8 * argument


class _Block:
    """Instructions whose jumps name their targets; a jump that names none goes on."""

    def __init__(self) -> None:
        self.labels: dict[str, int] = {}
        self._instructions: list[tuple[int, str | None, str | None, int]] = []

    def __len__(self) -> int:
        return len(self._instructions)

    def put(self, operation: int, value: int, *, label: str | None = None) -> None:
        if label is not None:
            self.labels[label] = len(self)
        self._instructions.append((operation, None, None, value))

    def jump(
        self, operation: int, value: int, *, then: str | None = None, otherwise: str | None = None
    ) -> None:
        self._instructions.append((operation, then, otherwise, value))

    def assembled(self) -> bytes:
        return b"".join(
            struct.pack("=HBBI", operation, self._skip(at, then), self._skip(at, other), value)
            for at, (operation, then, other, value) in enumerate(self._instructions)
        )

    def _skip(self, at: int, label: str | None) -> int:
        """How many instructions a jump skips."""
        return 0 if label is None else self.labels[label] - at - 1
