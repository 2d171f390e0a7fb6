"""Landlock: which files a process may reach, and that it reaches no process outside of its domain.

A ruleset is made in the daemon, one descriptor, and the child puts itself under it with one system
call.  It needs no privileges and holds for root as well.  What is not named by a rule cannot be
opened, made, removed or executed; nobody outside is traced, and by ABI no signal is sent to others
and no abstract Unix socket of theirs is reached.

The two packages for it on PyPI are a development release and a first version, and neither lets the
last step be taken between fork and exec; so these are the three system calls themselves.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
from collections.abc import Iterable
from enum import IntFlag
from functools import cache
from pathlib import Path
from types import TracebackType

_CREATE_RULESET, _ADD_RULE, RESTRICT_SELF = 444, 445, 446
_VERSION = 1  # flag: which ABI is there?
_PATH_BENEATH = 1
_SCOPES = 0b11  # abstract Unix sockets, signals
_TCP = 0b11  # bind, connect

NET_ABI, SCOPE_ABI = 4, 6


class Access(IntFlag):
    """Rights on files and folders, by their bits in <linux/landlock.h>."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15


READ = Access.READ_FILE | Access.READ_DIR
RUN = READ | Access.EXECUTE
CHANGE = (
    READ | Access.WRITE_FILE | Access.TRUNCATE | Access.MAKE_REG | Access.REMOVE_FILE
    | Access.MAKE_DIR | Access.REMOVE_DIR
)  # fmt: skip
LISTEN = Access.READ_DIR | Access.MAKE_SOCK | Access.REMOVE_FILE
USE_DEVICE = READ | Access.WRITE_FILE | Access.IOCTL_DEV
_ON_FILES = (
    Access.EXECUTE | Access.WRITE_FILE | Access.READ_FILE | Access.TRUNCATE | Access.IOCTL_DEV
)
_SINCE = {2: Access.REFER, 3: Access.TRUNCATE, 5: Access.IOCTL_DEV}


class _Attributes(ctypes.Structure):
    _fields_ = (
        ("files", ctypes.c_uint64),
        ("network", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("access", ctypes.c_uint64), ("parent", ctypes.c_int32))


@cache
def libc() -> ctypes.CDLL:
    """The C library, with prctl's arguments declared."""
    library = ctypes.CDLL(None, use_errno=True)
    word = ctypes.c_ulong
    library.prctl.argtypes = [ctypes.c_int, word, word, word, word]
    library.prctl.restype = ctypes.c_int
    library.syscall.restype = ctypes.c_long
    return library


@cache
def abi() -> int:
    """The version of Landlock that this kernel offers, 0 where it offers none."""
    return max(0, int(libc().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)))


def handled(version: int) -> Access:
    """The rights that a version knows: those are refused that no rule gives."""
    known = Access((1 << 16) - 1)
    for since, access in _SINCE.items():
        if version < since:
            known &= ~access
    return known


class Ruleset:
    """One ruleset; use it in a with block, which closes its descriptor.

    `version` is an ABI that this kernel offers.  Raises OSError where it cannot be made.
    """

    def __init__(self, version: int) -> None:
        self._handled = handled(version)
        attributes = _Attributes(
            self._handled,
            _TCP if version >= NET_ABI else 0,
            _SCOPES if version >= SCOPE_ABI else 0,
        )
        size = 24 if version >= SCOPE_ABI else 16 if version >= NET_ABI else 8
        self.descriptor = int(
            libc().syscall(_CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(size), 0)
        )
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "a Landlock ruleset cannot be made")

    def __enter__(self) -> Ruleset:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self.descriptor)

    def allow(self, paths: Iterable[str | Path], access: Access) -> None:
        """Give rights on files, and on folders with all that is below; what is absent is skipped.

        Raises OSError.
        """
        for path in paths:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
                try:
                    self._add(opened, access)
                finally:
                    os.close(opened)

    def allow_own(self, access: Access) -> None:
        """Give the calling process rights on its own part of /proc.  For the child itself."""
        self.allow(("/proc/self",), access)

    def _add(self, opened: int, access: Access) -> None:
        given = access & self._handled
        if not stat.S_ISDIR(os.fstat(opened).st_mode):
            given &= _ON_FILES
        if not given:
            return
        rule = _Beneath(given, opened)
        if libc().syscall(_ADD_RULE, self.descriptor, _PATH_BENEATH, ctypes.byref(rule), 0) != 0:
            raise OSError(ctypes.get_errno(), "a Landlock rule cannot be added")
