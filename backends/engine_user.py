"""The user that an engine runs as, where it has one of its own, and how a child becomes it."""

from __future__ import annotations

import ctypes
import os
import resource
import stat
from dataclasses import dataclass, field
from pathlib import Path

from runnerd.backends.private_view import View

# The nodes without which there is no computing on a GPU; others belong to root on some hosts.
_WITHOUT_WHICH_NOTHING = ("nvidiactl", "nvidia-uvm", "kfd", "dxg", "renderD")


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a user has to be able to do before an engine is started as that user: to read, to
    execute, and to write to.
    """

    reads: tuple[Path, ...] = ()
    programs: tuple[Path, ...] = ()
    writes: tuple[Path, ...] = ()

    def problem(self) -> str:
        """What the calling process cannot do of it, "" where it can do everything."""
        for path in self.reads:
            try:
                os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
            except OSError as error:
                return f"{path} cannot be read by another user ({error.strerror})"
        for path in self.programs:
            if not os.access(path, os.R_OK | os.X_OK):
                return f"{path} cannot be run by another user"
        for path in self.writes:
            if not os.access(path, os.R_OK | os.W_OK):
                return f"{path} cannot be written to by another user"
        return ""


@dataclass(frozen=True, slots=True)
class EngineUser:
    """A number that is user and group, the groups of the GPUs' nodes, and what it sees of folders
    that are closed to it.  With a `rehearsal` the child only tries that, and is not executed.
    """

    uid: int
    groups: tuple[int, ...] = ()
    view: View = field(default_factory=View)
    rehearsal: Rehearsal | None = None

    def enter_view(self, library: ctypes.CDLL) -> None:
        """See what this user is to see.  For the child itself, before Landlock.  Raises OSError."""
        self.view.enter(library)

    def become(self) -> None:
        """Be this user.  For the child itself.  Raises OSError.

        Root's capabilities are gone then; what may lock memory can do so as much as it wants, which
        for root was a capability.
        """
        try:
            limit = resource.RLIM_INFINITY
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))
        except (OSError, ValueError):  # who may not raise it has what it had
            pass
        os.setgroups(self.groups)
        os.setresgid(self.uid, self.uid, self.uid)
        os.setresuid(self.uid, self.uid, self.uid)


def vital_nodes(nodes: list[str]) -> list[Path]:
    """Those of the GPUs' nodes that an engine has to be able to use, of which folders are given as
    a whole.
    """
    found: list[Path] = []
    for node in map(Path, nodes):
        inside = sorted(node.iterdir()) if node.is_dir() else [node]
        found += [one for one in inside if _is_vital(one.name)]
    return found


def _is_vital(name: str) -> bool:
    card = name.removeprefix("nvidia")
    return name.startswith(_WITHOUT_WHICH_NOTHING) or (card != name and card.isdigit())


def device_groups(nodes: list[Path]) -> tuple[int, ...]:
    """The groups to which nodes are open that are not open to everybody; never root's."""
    needed = stat.S_IRGRP | stat.S_IWGRP
    found = set()
    for node in nodes:
        status = os.stat(node)
        everybody = status.st_mode & (stat.S_IROTH | stat.S_IWOTH)
        if everybody != stat.S_IROTH | stat.S_IWOTH and status.st_mode & needed == needed:
            found.add(status.st_gid)
    return tuple(sorted(found - {0}))
