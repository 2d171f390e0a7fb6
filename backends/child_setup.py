"""What a child does to itself between fork and exec.

Whatever it is, it cannot gain privileges, leaves no core dump, and dies with the daemon.  One that
is given a `Sandbox` gives up its capabilities, too, puts itself under the rules for files and
system calls, and becomes the user that it is to run as.

Everything is prepared in the daemon; in the child only a few system calls remain, since a forked
child of a threaded process must not take locks that another thread held.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from types import TracebackType

from runnerd.backends import landlock, seccomp
from runnerd.backends.engine_user import EngineUser
from runnerd.backends.landlock import libc
from runnerd.backends.sandbox import Sandbox
from runnerd.errors import BackendFailure

_PDEATHSIG, _DUMPABLE, _SECCOMP, _CAPBSET_DROP = 1, 4, 22, 24
_NO_NEW_PRIVS, _CAP_AMBIENT, _CLEAR_ALL = 38, 47, 4
_SECCOMP_MODE_FILTER = 2
_OOM_SCORE = b"500"  # of 1000: when memory runs out an engine goes before anything else does
_CAP_IPC_LOCK = 14  # --mlock; the only capability that root's engines keep
_LAST_CAPABILITY = 63
_CAPABILITY_VERSION = 0x20080522


class _Capabilities(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int), ("sets", ctypes.c_uint32 * 6))


def _kept_capabilities(library: ctypes.CDLL, kept: int) -> _Capabilities | None:
    """What is left of this process's capabilities for a child: of `kept` what is there.

    None where that is all there is: a service manager's filter may forbid to set any (systemd's
    `@privileged`).
    """
    found = _Capabilities(_CAPABILITY_VERSION, 0)
    library.capget(ctypes.byref(found), ctypes.byref(found.sets))
    found.version = _CAPABILITY_VERSION
    before = list(found.sets)
    found.sets[:] = [before[0] & kept, before[1] & kept, 0, 0, 0, 0]
    return None if list(found.sets) == before else found


class ChildSetup:
    """The preexec function of a child; to be used in a with block around the fork.

    `data_limit` bounds the writable memory of its own in bytes: pages of mapped weights are not
    among it, nor are address ranges that are only reserved, as CUDA does by the hundred gigabytes.
    A step that fails ends the child with exit status 126 and a line on its standard error: an
    engine never runs with less protection than was asked for and this kernel has.
    It also gives itself a score of its own for the kernel's out-of-memory killer, because the
    daemon's (which the unit lowers) would be inherited.
    """

    def __init__(self, sandbox: Sandbox | None, data_limit: int | None = None) -> None:
        """Raises errors.BackendFailure where the rules cannot be made."""
        self._parent = os.getpid()
        self._libc = libc()
        self._prctl = self._libc.prctl
        self._exit = os._exit
        self._write = os.write
        self._getpid = os.getpid
        self._getppid = os.getppid
        self._open = os.open
        self._data_limit: tuple[int, int] | None = None
        if data_limit is not None:
            # The soft limit: whoever started it can raise it while it runs (prlimit).
            _, hard = resource.getrlimit(resource.RLIMIT_DATA)
            soft = data_limit if hard == resource.RLIM_INFINITY else min(data_limit, hard)
            self._data_limit = soft, hard
        self._sandbox = sandbox
        self._rules: landlock.Ruleset | None = None
        self._filter: seccomp.Filter | None = None
        if sandbox is not None:
            try:
                self._rules = sandbox.ruleset()
            except OSError as error:
                raise BackendFailure(
                    f"the rules for an engine cannot be made ({error.strerror}); see `sandbox`"
                ) from error
        self._user = None if sandbox is None else sandbox.user
        if sandbox is not None and sandbox.held:
            scoped = self._rules is not None and landlock.abi() >= landlock.SCOPE_ABI
            self._filter = seccomp.make_filter(signals=not scoped)
        # With a user of its own it needs none to lock memory (`EngineUser.become`).
        kept = 1 << _CAP_IPC_LOCK if self._user is None else 0
        self._capabilities = _kept_capabilities(self._libc, kept)

    def __enter__(self) -> ChildSetup:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._rules is not None:
            os.close(self._rules.descriptor)

    def __call__(self) -> None:
        """Run in the child, between fork and exec."""
        self._die_with_parent()
        if self._prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            self._fail(b"cannot set no_new_privs\n")
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if self._data_limit is not None:
            resource.setrlimit(resource.RLIMIT_DATA, self._data_limit)
        self._score()
        if self._sandbox is not None:
            if self._user is not None:
                self._enter_view(self._user)
            self._hold_to_files(self._sandbox)
            self._change_user()
            self._filter_calls()

    def _die_with_parent(self) -> None:
        if self._prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            self._fail(b"cannot set the parent-death signal\n")
        if self._getppid() != self._parent:  # the daemon died before the signal was armed
            self._exit(126)

    def _enter_view(self, user: EngineUser) -> None:
        try:
            user.enter_view(self._libc)
        except OSError as error:
            where = f": {error.filename}" if error.filename else ""
            self._fail(f"{error.strerror}{where} (setting `engine_uids`)\n".encode())

    def _change_user(self) -> None:
        """Give up what root has beside its number, and that, too, for a user of its own."""
        self._drop_bounds()
        if self._user is not None:
            try:
                self._user.become()
            except OSError as error:
                self._fail(f"{error.strerror} (setting `engine_uids`)\n".encode())
            self._die_with_parent()  # a change of users has taken the signal away
        self._drop_capabilities()
        if self._user is not None and self._user.rehearsal is not None:
            if problem := self._user.rehearsal.problem():
                self._fail(f"{problem}\n".encode())
            self._exit(0)

    def _score(self) -> None:
        """The daemon's memory is private, and so is its child's until it is the engine: its /proc
        is root's.  Its own score it can write only while it is not.
        """
        self._prctl(_DUMPABLE, 1, 0, 0, 0)
        try:
            self._write(
                self._open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC), _OOM_SCORE
            )
        except OSError:  # without a /proc, or under a policy; no reason not to serve
            pass
        self._prctl(_DUMPABLE, 0, 0, 0, 0)

    def _drop_bounds(self) -> None:
        self._prctl(_CAP_AMBIENT, _CLEAR_ALL, 0, 0, 0)
        for number in range(_LAST_CAPABILITY + 1):  # refused to whoever has none to drop
            if number != _CAP_IPC_LOCK or self._user is not None:
                self._prctl(_CAPBSET_DROP, number, 0, 0, 0)

    def _drop_capabilities(self) -> None:
        """Root's engine is root by its number only, if at all."""
        if self._capabilities is None:
            return
        header = ctypes.byref(self._capabilities)
        if self._libc.capset(header, ctypes.byref(self._capabilities.sets)) != 0:
            self._fail(b"cannot give up its capabilities\n")

    def _hold_to_files(self, sandbox: Sandbox) -> None:
        if self._rules is not None:
            self._rules.allow_own(sandbox.own_process)
            if self._libc.syscall(landlock.RESTRICT_SELF, self._rules.descriptor, 0) != 0:
                self._fail(b"cannot put itself under Landlock's rules (setting `sandbox`)\n")

    def _filter_calls(self) -> None:
        if self._filter is not None:
            self._filter.own(self._getpid())
            if self._prctl(_SECCOMP, _SECCOMP_MODE_FILTER, self._filter.address, 0, 0):
                self._fail(b"cannot install the seccomp filter (setting `sandbox`)\n")

    def _fail(self, reason: bytes) -> None:
        self._write(2, b"runnerd: " + reason)
        self._exit(126)
