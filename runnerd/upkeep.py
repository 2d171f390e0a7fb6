"""Looks, once a second, whether what the daemon is reached by is still there.

Cleaners of temporary files, `rm`, and logind at the end of a session remove directories and sockets
under a running daemon.  What is gone is made again: the runtime directory with its lock and the
sockets that clients look for; a runner whose socket is gone is failed, and the next request starts
another one.
What cannot be made again ends the daemon with an error, so that whoever supervises it can help; and
so does a state directory that is not there any more, because the models are gone with it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from runnerd import threads
from runnerd.errors import StartupError
from runnerd.runner import Runner
from runnerd.sockets.listeners import UnixListener, listen_unix, unlink_if_ours
from runnerd.sockets.lock import DirectoryLock
from runnerd.sockets.paths import RuntimeDirectory, SocketState, probe

log = logging.getLogger(__name__)

_INTERVAL = 1.0  # seconds; a look is a few calls in a thread


class ControlSocket:
    """A Unix socket of the daemon's: opened here, or by systemd."""

    def __init__(self, path: Path, *, mode: int, group: str | None) -> None:
        self.path = path
        self._mode = mode
        self._group = group
        self._listener: UnixListener | None = None
        self._seen: tuple[int, int] | None = None

    def open(self) -> socket.socket:
        """Listen, again where the socket before was lost.  Raises errors.StartupError."""
        self._listener = listen_unix(self.path, mode=self._mode, group=self._group)
        self._seen = self._listener.bound and self._listener.bound[:2]
        return self._listener

    def adopt(self, inherited: Sequence[socket.socket]) -> list[socket.socket]:
        """Take systemd's listeners; return them, and one of our own where its file is gone.

        Raises errors.StartupError.
        """
        named = [item for item in inherited if item.family == socket.AF_UNIX]
        if str(self.path) not in [item.getsockname() for item in named]:
            return [*inherited]  # the unit has no socket here, and wants none
        if probe(self.path) is SocketState.LIVE:
            self._seen = _identity(self.path)
            return [*inherited]
        log.warning("systemd's socket %s is gone; listening there anew", self.path)
        return [*inherited, self.open()]

    def there(self) -> bool:
        """Return whether clients find the socket that they are to find."""
        return self._seen is None or _identity(self.path) == self._seen

    def close(self) -> None:
        """Remove the file if we made it."""
        if self._listener is not None:
            unlink_if_ours(self._listener, self.path)


class Upkeep:
    """Keeps the daemon reachable.  `run` it as a task; `listen` serves on a further listener."""

    def __init__(
        self,
        directory: RuntimeDirectory,
        locks: Sequence[DirectoryLock],
        sockets: Sequence[ControlSocket],
        *,
        runners: Callable[[], Sequence[Runner]],
        listen: Callable[[socket.socket], Awaitable[None]],
    ) -> None:
        self._directory = directory
        self._locks = locks
        self._sockets = sockets
        self._runners = runners
        self._listen = listen

    async def run(self) -> str:
        """Look and mend, again and again; return why the daemon has to end."""
        while True:
            await asyncio.sleep(_INTERVAL)
            try:
                lost, removed = await threads.run(self._look, self._runners())
                for each in removed:
                    log.error("the control socket %s was removed; made again", each.path)
                    await self._listen(each.open())
            except StartupError as error:
                return error.message
            for runner in lost:
                runner.lose("its socket was removed")

    def _look(self, runners: Sequence[Runner]) -> tuple[list[Runner], list[ControlSocket]]:
        """Make again what is missing; return what cannot be reached: runners, and sockets at which
        clients look for the daemon.  Blocks.

        Raises errors.StartupError where something cannot be made again.
        """
        if not self._directory.runners.is_dir():
            log.error("the runtime directory %s was removed; made again", self._directory.root)
            self._directory.prepare()
        for lock in self._locks:
            if not lock.held:
                if not lock.path.parent.is_dir():
                    raise StartupError(f"{lock.purpose} {lock.path.parent} was removed")
                log.error("the lock %s was removed; taken again", lock.path)
                lock.release()
                lock.acquire()
        lost = [runner for runner in runners if not _reachable(runner)]
        return lost, [each for each in self._sockets if not each.there()]


def _reachable(runner: Runner) -> bool:
    return os.path.lexists(runner.engine_socket) and os.path.lexists(runner.socket)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
