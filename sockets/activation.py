"""Sockets inherited from systemd (sd_listen_fds(3)).

With `runnerd.socket` systemd opens the listeners: they exist before the daemon does, survive its
restarts with the clients waiting in them, and carry a group that the sandboxed daemon could not
give.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import MutableMapping

from runnerd.errors import StartupError

log = logging.getLogger(__name__)

_FIRST_FD = 3  # SD_LISTEN_FDS_START
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
_FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)


def inherited_sockets(environ: MutableMapping[str, str] = os.environ) -> list[socket.socket]:
    """Return the listeners meant for this process, in the order of the .socket unit; often none.

    Takes the variables out of `environ`, so that no child believes they are meant for it.  Raises
    StartupError if a descriptor is not a listening stream socket; all are then closed.
    """
    given = {name: environ.pop(name, "") for name in _VARIABLES}
    if not given["LISTEN_FDS"] or given["LISTEN_PID"] != str(os.getpid()):
        return []
    names = given["LISTEN_FDNAMES"].split(":")
    adopted: list[socket.socket] = []
    try:
        for index in range(_count(given["LISTEN_FDS"])):
            name = names[index] if index < len(names) else ""
            adopted.append(_adopt(_FIRST_FD + index, name))
    except BaseException:
        for listener in adopted:
            listener.close()
        raise
    return adopted


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise StartupError(f"LISTEN_FDS={text[:20]!r} is not a number of sockets")
    return int(text)


def _adopt(fd: int, name: str) -> socket.socket:
    what = f"the inherited descriptor {fd} ({name or 'unnamed'})"
    try:
        listener = socket.socket(fileno=fd)
    except OSError as error:
        raise StartupError(f"{what} is not a socket: {error.strerror}") from error
    try:
        problem = _problem(listener)
    except OSError as error:
        problem = f"cannot be asked what it is ({error.strerror})"
    if problem:
        listener.close()
        raise StartupError(
            f"{what} {problem}; runnerd.socket may have ListenStream= lines only, with Accept=no"
        )
    listener.set_inheritable(False)
    listener.setblocking(False)
    log.info("inherited the listener %s (%s)", listener.getsockname(), name or "unnamed")
    return listener


def _problem(listener: socket.socket) -> str | None:
    """Say why clients cannot be accepted on this socket, or None."""
    if listener.family not in _FAMILIES:
        return f"has the address family {listener.family}, not Unix or IP"
    if listener.type != socket.SOCK_STREAM:
        return "is no stream socket"
    if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "does not listen"
    return None
