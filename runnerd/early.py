"""What a process sees to before anything else: its standard streams, and signals.

Whoever starts a daemon may have closed descriptors 0 to 2.  The next file that is opened would get
such a number, and whatever prints would print into it; so they are opened first, on /dev/null.

A signal may come at any time.  Until the daemon has made something, SIGTERM and SIGINT end the
process at once and in silence; from `hold` on they are noted, and the daemon, which looks between
its steps (`check`), takes back what it has made.  SIGHUP asks for a reload, which a daemon that is
not up yet does anyway by reading its settings.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

_ENDING = (signal.SIGTERM, signal.SIGINT)

_noted: list[int] = []


class Stopped(Exception):
    """The process was asked to end before it was up."""


def open_standard_streams() -> None:
    """See that descriptors 0 to 2 are open, and that Python has streams on them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            descriptor = os.open(os.devnull, os.O_RDWR)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            os.set_inheritable(number, True)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            stream = open(number, "w" if number else "r", encoding="utf-8", closefd=False)
            setattr(sys, name, stream)


def end_at_once() -> None:
    """Let SIGTERM and SIGINT end this process, which has made nothing yet; SIGHUP does nothing."""
    for number in _ENDING:
        signal.signal(number, _end)
    signal.signal(signal.SIGHUP, _note)


def hold() -> None:
    """From now on only note signals."""
    for number in (*_ENDING, signal.SIGHUP):
        signal.signal(number, _note)


def check() -> None:
    """Raise Stopped once the process was asked to end."""
    if ending():
        raise Stopped


def ending() -> bool:
    """Return whether the process was asked to end."""
    return any(number in _ENDING for number in _noted)


def reloading() -> bool:
    """Return whether a reload was asked for, and forget it."""
    found = signal.SIGHUP in _noted
    _noted[:] = [number for number in _noted if number != signal.SIGHUP]
    return found


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(0)


def _note(number: int, frame: FrameType | None) -> None:
    _noted.append(number)
