"""Who is at the other end of a Unix socket.

The kernel notes the process that called connect(); nothing the client sends can change it.  The uid
is what permissions go by.  The pid is for logs only: it may belong to somebody else by the time it
is read.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

_UCRED = struct.Struct("iII")  # pid_t, uid_t, gid_t
_NOBODY_YET = 2**32 - 1  # what the kernel fills in for a socket without a peer


@dataclass(frozen=True, slots=True)
class PeerCredentials:
    """A client's process as the kernel saw it connect.

    pid 0 is a process that our pid namespace does not show.  A uid that our user namespace does not
    map is the kernel's overflow uid (65534), which must never be taken for a user.
    """

    pid: int
    uid: int
    gid: int


class PeerSocket(Protocol):
    """A socket, or what asyncio and uvloop hand out as a transport's `socket`."""

    @property
    def family(self) -> int: ...

    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes: ...


def peer_credentials(sock: PeerSocket) -> PeerCredentials | None:
    """Return who connected, or None if that cannot be known: TCP, no peer, or closed meanwhile."""
    if sock.family != socket.AF_UNIX:
        return None
    try:
        response = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    except OSError:
        return None
    pid, uid, gid = _UCRED.unpack(response)
    return None if uid == _NOBODY_YET else PeerCredentials(pid, uid, gid)


class Endpoint(NamedTuple):  # a tuple: connections to it are looked up at every request
    """A Unix socket, and the user who alone may listen there (None: anybody)."""

    path: str
    owner: int | None = None

    @classmethod
    def of(cls, path: Path) -> Endpoint:
        """A socket with whose its folder is now (`folder_owner`)."""
        return cls(str(path), folder_owner(str(path)))


def folder_owner(path: str) -> int | None:
    """The user who alone may listen on a Unix socket at `path`: whose its folder is, where that is
    another user than ours; None for anybody.

    Who owns the folder can put a link to somebody else's socket there, and have us talk to that.
    """
    try:
        owner = os.stat(path.rpartition("/")[0]).st_uid
    except OSError:  # there is no socket either
        return None
    return None if owner == os.geteuid() else owner


def check_listener(sock: PeerSocket, owner: int | None) -> None:
    """Raise ConnectionRefusedError unless `owner` listens at a connection's other end."""
    if owner is None:
        return
    peer = peer_credentials(sock)
    if peer is None or peer.uid != owner:
        raise ConnectionRefusedError(errno.ECONNREFUSED, "somebody else listens on its socket")
