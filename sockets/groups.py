"""Which groups a user of this host is a member of.

Of a Unix socket's other end the kernel says it.  Over TCP only the uid is known, and the user
database is asked, which may be a directory server that takes its time: in a thread, once per uid
for a while.
"""

from __future__ import annotations

import array
import asyncio
import os
import pwd
import socket
import time
from collections.abc import Callable

from runnerd import tasks, threads
from runnerd.sockets.peer import PeerSocket

_SO_PEERGROUPS = 59
_MOST_BYTES = 1024  # what getsockopt() takes in Python: 256 groups
_KEPT = 30.0  # seconds; so soon a change of members counts


def peer_groups(sock: PeerSocket) -> frozenset[int] | None:
    """The supplementary groups of a Unix socket's other end, None where they are too many."""
    try:
        found = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MOST_BYTES)
    except OSError:
        return None
    return frozenset(array.array("I", found))


def groups_of(uid: int) -> frozenset[int]:
    """The groups of a uid, none for one that is nobody's.  Blocks."""
    try:
        user = pwd.getpwuid(uid)
        return frozenset(os.getgrouplist(user.pw_name, user.pw_gid))
    except (KeyError, OSError):
        return frozenset()


class GroupMembers:
    """Remembers the groups of uids; `look_up` is what asks for them, in a thread."""

    def __init__(self, look_up: Callable[[int], frozenset[int]] = groups_of) -> None:
        self._look_up = look_up
        self._known: dict[int, tuple[frozenset[int], float]] = {}
        self._asking: dict[int, asyncio.Task[frozenset[int]]] = {}

    def known(self, uid: int) -> frozenset[int] | None:
        """The groups of a uid if they were asked for lately."""
        found, until = self._known.get(uid, (None, 0.0))
        return found if time.monotonic() < until else None

    async def of(self, uid: int) -> frozenset[int]:
        """The groups of a uid; whoever asks meanwhile waits for the same look."""
        task = self._asking.get(uid)
        if task is None:
            task = self._asking[uid] = tasks.spawn(self._ask(uid), name=f"groups of uid {uid}")
        return await asyncio.shield(task)

    async def _ask(self, uid: int) -> frozenset[int]:
        try:
            found = await threads.run(self._look_up, uid)
            self._known[uid] = found, time.monotonic() + _KEPT
            return found
        finally:
            del self._asking[uid]
