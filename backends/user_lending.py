"""Gives a program a user of its own for as long as it runs, where everything it needs allows that.

Nothing is believed: before the first start a child becomes that user and tries what the engine will
need (`Rehearsal`).  Whatever is in the way (a borrowed file in somebody's home, a disk without
owners, a GPU that only root may use) costs the program its own user and nothing else: it runs as
the daemon's, and one line in the log says why.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from runnerd import threads
from runnerd.backends.commands import run_command
from runnerd.backends.engine_user import EngineUser, Rehearsal, device_groups, vital_nodes
from runnerd.backends.engine_users import EngineUsers, Lent, NoUser
from runnerd.backends.handing_over import hand_over, open_to_read, take_back
from runnerd.backends.private_view import Closed, View
from runnerd.backends.sandbox import Sandbox, device_nodes, own_python
from runnerd.errors import BackendFailure, HostExhausted

log = logging.getLogger(__name__)

_TIMEOUT = 30.0
_KNOWN = 64
_TOLD = 256
_SYSTEM = (("usr",), ("lib",), ("lib64",))
_MPS = Path("/tmp/nvidia-mps")
_MPS_VARIABLE = "CUDA_MPS_PIPE_DIRECTORY"

_Seen = tuple[object, ...]


class UserLending:
    """Owns what is known of who can have a user."""

    def __init__(self, users: EngineUsers) -> None:
        self._users = users
        self._sound: set[_Seen] = set()  # rehearsed
        self._told: set[str] = set()
        self._not_on_devices = ""

    def keep_on_devices(self, reason: str) -> None:
        """Give no user to programs that compute on GPUs from now on."""
        self._not_on_devices = reason
        self._tell(reason)

    @contextlib.asynccontextmanager
    async def lent(self, program: Path, sandbox: Sandbox) -> AsyncIterator[EngineUser | None]:
        """The user for one program, None where it has to be the daemon's.

        What it writes is its own until the block ends.  Raises errors.HostExhausted.
        """
        if sandbox.devices and not await threads.run(self._for_devices):
            yield None
            return
        for lack in self._users.lacks:
            self._say(lack)
        try:
            lent = await threads.run_or_undo(self._users.lend, undo=self._users.give_back)
        except NoUser as reason:
            self._tell(str(reason))
            yield None
            return
        try:
            yield await self._prepared(program, sandbox, lent.uid)
        finally:
            await threads.run_to_end(self._give_back, lent, sandbox)

    def _for_devices(self) -> bool:
        """Whether what may compute on GPUs can have a user; without GPUs it is as others."""
        return not self._not_on_devices and (self._users.on_devices or not device_nodes())

    async def _prepared(self, program: Path, sandbox: Sandbox, uid: int) -> EngineUser | None:
        try:
            user, seen = await threads.run(self._prepare, program, sandbox, uid)
            if seen not in self._sound:
                await _rehearse(program, replace(sandbox, user=user))
                if len(self._sound) >= _KNOWN:
                    self._sound.clear()
                self._sound.add(seen)
        except HostExhausted:
            raise
        except (Closed, NoUser, OSError, BackendFailure) as error:
            self._tell(error.message if isinstance(error, BackendFailure) else _words(error))
            await threads.run_to_end(take_back, _own(sandbox), self._is_ours)
            return None
        return replace(user, rehearsal=None)

    def _prepare(self, program: Path, sandbox: Sandbox, uid: int) -> tuple[EngineUser, _Seen]:
        """The user with what it needs, and what that depends on.

        Raises Closed, NoUser, OSError.
        """
        nodes = vital_nodes(device_nodes()) if sandbox.devices else []
        if nodes and _has_mps():
            raise NoUser("NVIDIA's MPS serves the programs of one user at a time")
        own = _own(sandbox)
        wanted = [program, *_python(program), *sandbox.programs, *sandbox.reads, *own, *nodes]
        view = View.of(wanted)
        for path in sandbox.reads:
            # Files of the store; what is borrowed is behind a link, and stays as it is.
            if not path.is_symlink() and view.hides(str(path.resolve())):
                open_to_read(path)
        hand_over(own, uid, self._is_ours)
        files = [path for path in (*sandbox.reads, *_libraries(sandbox.programs)) if path.exists()]
        rehearsal = Rehearsal(tuple(files), (program,), (*own, *nodes))
        user = EngineUser(uid, device_groups(nodes), view, rehearsal)
        return user, (view.covered, user.groups, *map(_look, (program, *files, *nodes)))

    def _give_back(self, lent: Lent, sandbox: Sandbox) -> None:
        self._users.give_back(lent, lambda: take_back(_own(sandbox), self._is_ours))

    def _is_ours(self, uid: int) -> bool:
        return uid == os.geteuid() or self._users.owns(uid)

    def _tell(self, reason: str) -> None:
        self._say(f"an engine runs as the daemon's user: {reason}")

    def _say(self, words: str) -> None:
        """Log something once."""
        if words not in self._told and len(self._told) < _TOLD:
            self._told.add(words)
            log.warning("%s", words)


async def _rehearse(program: Path, sandbox: Sandbox) -> None:
    """Have a child try it.  Raises errors.BackendFailure with what is in the way."""
    result = await run_command([str(program)], timeout=_TIMEOUT, sandbox=sandbox)
    if result.code != 0:
        lines = result.output.strip().splitlines()
        raise BackendFailure(lines[-1].removeprefix("runnerd: ") if lines else result.reason)


def _has_mps() -> bool:
    """Whether a daemon of NVIDIA's shares the GPUs; a folder of anybody else's in /tmp is none."""
    if _MPS_VARIABLE in os.environ:
        return True
    with contextlib.suppress(OSError):
        return os.lstat(_MPS).st_uid in (0, os.geteuid())
    return False


def _own(sandbox: Sandbox) -> tuple[Path, ...]:
    return (*sandbox.writes, *sandbox.sockets)


def _python(program: Path) -> list[Path]:
    """The daemon's Python, as far as a program can use it.

    One that was installed under a strict umask is closed in itself: shown as a whole, it would hide
    an engine that lies in it and is not.
    """
    found = [Path(folder) for folder in own_python()]
    if program == Path(sys.executable):
        return found
    return [each for each in found if each.is_dir() and each.stat().st_mode & stat.S_IXOTH]


def _libraries(programs: Iterable[Path]) -> Iterator[Path]:
    """The libraries beside programs; the system's are everybody's, and thousands."""
    for folder in programs:
        if folder.parts[1:2] not in _SYSTEM and folder.is_dir():
            yield from folder.glob("lib*.so*")


def _look(path: Path) -> tuple[object, ...]:
    found = os.stat(path)
    return str(path), found.st_dev, found.st_ino, found.st_mode, found.st_uid


def _words(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    return str(error)
