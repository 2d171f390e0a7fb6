"""The daemon's socket where nobody has named it: found at a usual place, and so to be checked.

Whoever makes a usual folder first could listen in it: `/tmp` is open to all, and a session that
goes on as another user (`su`) keeps the variables of the first.  A client that believed what it
finds would hand its key and its prompts to that user.  So the folder has to be one that nobody else
can have made or can change, and the kernel has to say that its owner, root or we ourselves listen.
An address that somebody has named is theirs to judge, and is not checked.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection
from pathlib import Path

from runnerd.sockets.peer import PeerSocket, peer_credentials

_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class StrangersSocket(ConnectionRefusedError):
    """A socket at a usual place that somebody else may listen at.  Nothing was sent there."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            errno.ECONNREFUSED,
            f"{problem}. Somebody else could read your key and your prompts there, so nothing was"
            " sent: have it removed or mended by its owner or root, or name the daemon that you"
            " mean with --host unix:///PATH or http://HOST:PORT (RUNNERD_HOST)",
        )


def fault_of_folder(
    folder: Path, found: os.stat_result, owners: Collection[int], writers: int = stat.S_IWOTH
) -> str | None:
    """Why sockets in a folder are not its owners' alone, and what to do about it; None if they are.

    `found` is what lstat says of it; `writers` are the bits of its mode that it may not have.
    """
    if stat.S_ISLNK(found.st_mode):
        return "is a symbolic link; give the real path"
    if not stat.S_ISDIR(found.st_mode):
        return "is not a directory; move it away"
    if found.st_uid not in owners:
        return f"belongs to uid {found.st_uid}, not to us (uid {os.geteuid()}); remove it"
    if found.st_mode & writers:
        who, bits = ("others", "go-w") if writers & stat.S_IWGRP else ("everybody", "o-w")
        return f"may be changed by {who}; run `chmod {bits} {folder}`"
    return None


def expected_listeners(path: str) -> frozenset[int]:
    """The uids of whoever may listen at a socket that was found: ours, root's, and the folder's
    owner where only root can have given it the folder.

    Raises StrangersSocket where others could have put the socket there, OSError where the folder
    cannot be looked at.
    """
    folder = Path(path).parent
    found = os.lstat(folder)
    uids = frozenset({os.geteuid(), 0})
    if fault_of_folder(folder.parent, os.lstat(folder.parent), {0}, _OTHERS) is None:
        uids |= {found.st_uid}
    if stat.S_ISLNK(found.st_mode):
        raise StrangersSocket(f"{folder} is a symbolic link of uid {found.st_uid}")
    if (fault := fault_of_folder(folder, found, uids, _OTHERS)) is not None:
        ours = found.st_uid == os.geteuid()  # only then the advice is for us
        raise StrangersSocket(f"{folder} {fault if ours else fault.partition(';')[0]}")
    return uids


def check_found(sock: PeerSocket, path: str, uids: Collection[int]) -> None:
    """Raise StrangersSocket unless one of `uids` listens at a connection's other end."""
    peer = peer_credentials(sock)
    if peer is None or peer.uid not in uids:
        whose = "nobody knows who" if peer is None else f"uid {peer.uid}"
        raise StrangersSocket(f"{whose} listens at {path}, not the owner of its folder")
