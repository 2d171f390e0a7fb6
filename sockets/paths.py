"""Where sockets live, and who owns a name in the file system.

A Unix socket's address holds 107 bytes, so a deep runtime directory breaks a daemon only when its
first model is loaded, with an error that blames something else.  Lengths are therefore settled
here, before anything is started: runners get short names (eight hex digits of their key), and where
even those do not fit, a short private directory under /tmp.

A socket file outlives its process, and binding removes nothing.  Whether a file is *stale* is asked
of the kernel by connecting: only a refused connection proves that nobody listens.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import hashlib
import logging
import os
import re
import socket
import stat
from pathlib import Path

from runnerd.errors import StartupError
from runnerd.sockets.found import fault_of_folder

log = logging.getLogger(__name__)

UNIX_PATH_MAX = 107  # sun_path is 108 bytes; Python keeps the last for the terminating NUL

_KEY_DIGITS = 8
_SUFFIX = ".sock"
_LONGEST = "0" * _KEY_DIGITS + "/e.sock"  # an engine's own, in its folder
_RUNNER_SOCKET = re.compile(rf"[0-9a-f]{{{_KEY_DIGITS}}}(\.sock)?")


def check_path_length(path: Path) -> None:
    """Raise StartupError if `path` cannot be the address of a Unix socket."""
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise StartupError(f"the socket path {str(path)!r} contains a NUL byte")
    if len(encoded) > UNIX_PATH_MAX:
        raise StartupError(
            f"the socket path {path} has {len(encoded)} bytes, and the system's limit is"
            f" {UNIX_PATH_MAX}: set a shorter --runtime-dir (RUNNERD_RUNTIME_DIR)"
            " or --socket (RUNNERD_SOCKET)"
        )


class SocketState(enum.Enum):
    """What is at the path of a socket."""

    ABSENT = "nothing is there"
    STALE = "a socket that nobody listens on"
    LIVE = "a socket that something accepts connections on"
    FOREIGN = "something that is not a socket"
    UNKNOWN = "a socket that we may not connect to"


def probe(path: Path) -> SocketState:
    """Find out whether a path has a socket that somebody listens on; never blocks.

    A listener sees a connection that closes at once.
    """
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return SocketState.FOREIGN
    except (FileNotFoundError, NotADirectoryError):
        return SocketState.ABSENT
    except PermissionError:
        return SocketState.UNKNOWN
    check_path_length(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probing:
        probing.setblocking(False)
        return _STATES.get(probing.connect_ex(os.fspath(path)), SocketState.UNKNOWN)


_STATES = {
    0: SocketState.LIVE,
    errno.EAGAIN: SocketState.LIVE,  # its backlog is full: busy, not dead
    errno.EPROTOTYPE: SocketState.LIVE,  # it listens for datagrams or packets
    errno.ECONNREFUSED: SocketState.STALE,
    errno.ENOENT: SocketState.ABSENT,  # gone since we looked
}


def remove_stale(path: Path) -> bool:
    """Unlink the socket file at `path` if nobody listens on it; return whether there was one.

    Raises StartupError, and touches nothing, if it is live or not a socket at all.  Two processes
    that start at once are kept apart by `DirectoryLock`, not by this function: between another's
    bind() and listen() its socket looks stale.
    """
    before = _identity(path)
    state = probe(path)
    if state is SocketState.ABSENT:
        return False
    if state is SocketState.LIVE:
        raise StartupError(
            f"already running: something accepts connections on {path};"
            " stop it first, or set another --socket (RUNNERD_SOCKET)"
        )
    if state is not SocketState.STALE:
        raise StartupError(
            f"cannot listen on {path}: {state.value} is in the way and was left untouched;"
            " move it away, or set another --socket (RUNNERD_SOCKET)"
        )
    # What we proved dead is what we remove: somebody may have bound the name anew in the meantime.
    if _identity(path) != before:
        raise StartupError(f"already running: another process has just taken {path}")
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StartupError(
            f"cannot remove the stale socket {path}: {error.strerror}; remove it, or set another"
            " --socket (RUNNERD_SOCKET)"
        ) from error
    log.info("removed the stale socket %s", path)
    return True


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    # The number alone is given again as soon as its file is gone.
    return found.st_dev, found.st_ino, found.st_ctime_ns


class RuntimeDirectory:
    """The daemon's directory for what must not outlive the machine's uptime.

    `root` (0755) holds the control socket, the lock and pid records; the runners' sockets are in a
    directory that only our user may enter (0700): `root/m`, or one below `short_base` when paths
    there would be too long.  Which one is settled by the constructor, made by `prepare()`.
    """

    def __init__(self, root: Path, *, short_base: Path = Path("/tmp")) -> None:
        self.root = Path(os.path.abspath(root))
        self._short_base = short_base
        self.runners = self.root / "m"
        longest = self.runners / _LONGEST
        self.shortened = len(os.fsencode(longest)) > UNIX_PATH_MAX
        if self.shortened:
            # Of this user and this root: no two daemons share it, and the next start finds it.
            self.runners = short_base / f"runnerd-{os.geteuid()}-{_short_hash(str(self.root))}"

    def prepare(self) -> None:
        """Make the directories and check those that exist.  Idempotent.

        Raises StartupError for a symlink, a stranger's directory, one that others may rename things
        in, or where runners' sockets fit nowhere.
        """
        _make_shared(self.root)
        if self.shortened:
            self._check_short_base()
            log.warning(
                "sockets of runners are in %s: under %s their paths would exceed %d bytes",
                self.runners,
                self.root,
                UNIX_PATH_MAX,
            )
        _make_private(self.runners)

    def leave(self) -> None:
        """Remove the directory that was made elsewhere for the runners' sockets, where it is empty:
        nobody knows whose it is.  To be called under the directory's lock.
        """
        if self.shortened:
            with contextlib.suppress(OSError):
                self.runners.rmdir()

    def _check_short_base(self) -> None:
        """Refuse a base that is no better, or where others could swap our directory for theirs."""
        try:
            check_path_length(self.runners / _LONGEST)
            _check_directory(self._short_base)
        except StartupError as error:
            raise StartupError(
                f"the runtime directory {self.root} is too long for the sockets of runners (the"
                f" limit is {UNIX_PATH_MAX} bytes), and {self._short_base} cannot replace it"
                f" ({error.message}): set a shorter --runtime-dir (RUNNERD_RUNTIME_DIR)"
            ) from error

    def runner_socket(self, key: str) -> Path:
        """Return the socket path of the runner with `key`; its engine's fits too."""
        return self.runners / (_short_hash(key) + _SUFFIX)

    def clear_stale(self) -> list[Path]:
        """Remove the runner sockets that a dead daemon left; return them.

        To be called under the directory's lock.  A live socket is kept and logged: its engine
        outlived its daemon and has to be ended first.  Files that are no runner's socket are not
        touched.
        """
        removed = []
        for path in sorted(self.runners.iterdir()):
            if not _RUNNER_SOCKET.fullmatch(path.name):
                continue
            if path.is_dir() and not path.is_symlink():
                removed += self._clear_folder(path)
                continue
            try:
                if remove_stale(path):
                    removed.append(path)
            except StartupError as error:
                log.warning("kept %s: %s", path, error.message)
        return removed

    def _clear_folder(self, folder: Path) -> list[Path]:
        """Remove an engine's own folder, with whatever it left there."""
        removed = []
        try:
            for path in sorted(folder.iterdir()):
                if path.is_socket():
                    removed += [path] if remove_stale(path) else []
                elif not path.is_dir() or path.is_symlink():
                    path.unlink()
            folder.rmdir()
        except (StartupError, OSError) as error:
            log.warning("kept %s: %s", folder, error)
        return removed


def _short_hash(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:_KEY_DIGITS]


def _make_shared(directory: Path) -> None:
    """Make the root, which others may look into but not change."""
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            directory.mkdir()
            directory.chmod(0o755)  # whatever the umask
    except OSError as error:
        raise StartupError(
            f"cannot create the runtime directory {directory}: {error.strerror};"
            " set --runtime-dir (RUNNERD_RUNTIME_DIR) to one that you may write to"
        ) from error
    _check_directory(directory)


def _make_private(directory: Path) -> None:
    """Make `directory` for our user alone; take an existing one only if it is ours already."""
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise StartupError(
            f"cannot create {directory} for the sockets of runners: {error.strerror};"
            " set --runtime-dir (RUNNERD_RUNTIME_DIR) to a directory that you may write to"
        ) from error
    _check_directory(directory, owners=frozenset({os.geteuid()}))
    directory.chmod(0o700)


def _check_directory(directory: Path, owners: frozenset[int] | None = None) -> None:
    """Raise StartupError unless `directory` is one of `owners` (us or root) and safe to use."""
    found = _lstat(directory)
    owners = owners if owners is not None else frozenset({os.geteuid(), 0})
    # Where it is sticky, others can put things beside ours, but not rename ours.
    writers = 0 if found.st_mode & stat.S_ISVTX else stat.S_IWOTH
    if (problem := fault_of_folder(directory, found, owners, writers)) is None:
        return
    raise StartupError(f"{directory} {problem}, or set another --runtime-dir (RUNNERD_RUNTIME_DIR)")


def _lstat(directory: Path) -> os.stat_result:
    try:
        return os.lstat(directory)
    except OSError as error:
        raise StartupError(f"cannot use the directory {directory}: {error.strerror}") from error
