"""Ending every process of an engine's user, whatever they do meanwhile.

A program that is not to be found need only have a child and end, again and again: whoever looks
through /proc comes too late each time.  One kill() to everybody whom a user may send signals is one
step of the kernel's, during which nobody gets children.  So a child becomes that user, without any
capability, and does that.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys

from runnerd.backends.child_setup import ChildSetup
from runnerd.backends.engine_user import EngineUser, Rehearsal
from runnerd.backends.sandbox import Sandbox
from runnerd.errors import BackendFailure

log = logging.getLogger(__name__)

_EVERYBODY = -1
_NO_CAPABILITIES = (b"CapPrm:\t0000000000000000", b"CapEff:\t0000000000000000")
_STATUS_BYTES = 2**16


class _Ending(Rehearsal):
    """Instead of trying something, the child ends all who are the user that it has become."""

    __slots__ = ()

    def problem(self) -> str:
        """Why nobody was ended, "" where all were."""
        # Whatever it would have to import now may lie where this user cannot read.
        uid, *others = os.getresuid()
        with open("/proc/self/status", "rb", 0) as file:
            lines = file.read(_STATUS_BYTES).split(b"\n")
        # Anybody else could end the whole host.
        if uid == 0 or others != [uid, uid] or not all(line in lines for line in _NO_CAPABILITIES):
            return "it is not an engine's user"
        try:
            os.kill(_EVERYBODY, signal.SIGKILL)
        except ProcessLookupError:
            pass
        return ""


def anybody(uid: int) -> bool:
    """Whether a user has processes, those included that have ended and wait for their parent."""
    try:
        os.getpriority(os.PRIO_USER, uid)
    except ProcessLookupError:
        return False
    return True


def end_all(uid: int) -> bool:
    """Kill every process of a user; whether that was done: there may be no room for the child, and
    they may have killed it before.
    """
    sandbox = Sandbox(held=False, user=EngineUser(uid, rehearsal=_Ending()))
    try:
        with ChildSetup(sandbox) as setup:
            child = subprocess.run(
                [sys.executable],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                preexec_fn=setup,
                start_new_session=True,
                check=False,
            )
    except (OSError, subprocess.SubprocessError, BackendFailure) as error:
        log.debug("processes of uid %d cannot be ended yet: %s", uid, error)
        return False
    return child.returncode == 0
