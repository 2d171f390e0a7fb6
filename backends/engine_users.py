"""Users of their own for engines: numbers of a range, of which each running engine has one.

A user is what every kernel keeps apart: files, signals, tracing, sockets' folders.  Where the
daemon may give its engines numbers of their own, one that is taken over is a stranger to the daemon
and to other engines, also without Landlock.

A number is taken that no account, no process and no other daemon has: each is held by a locked
file, which lasts as long as its engine or, whatever happens, as the daemon.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from runnerd.backends.ending import anybody, end_all

log = logging.getLogger(__name__)

AUTOMATIC, OFF = "auto", "off"
# Between what systemd gives to homes and to dynamic users, below what Debian gives away, and
# among the numbers that most containers have.
USUAL = range(60578, 60999 + 1)
_ACCOUNTS = ("/etc/passwd", "/etc/group")
_SUBORDINATE = ("/etc/subuid", "/etc/subgid")
_LOCKS = Path("/run/runnerd-uids")
_NEEDED = {
    0: "CAP_CHOWN", 1: "CAP_DAC_OVERRIDE", 3: "CAP_FOWNER", 5: "CAP_KILL", 6: "CAP_SETGID",
    7: "CAP_SETUID",
}  # fmt: skip
# What does not go without these.  Who asks for users does without; nobody else has to.
_WANTED = {
    19: ("CAP_SYS_PTRACE", "of a /proc that hides others, an engine's memory is not read"),
    21: ("CAP_SYS_ADMIN", "what lies in closed folders is not shown to another user"),
    23: ("CAP_SYS_NICE", "an engine with a crowd to serve is not scheduled as a batch process"),
    24: ("CAP_SYS_RESOURCE", "an engine's memory limit stays what it was at its start"),
}
_FIRST, _LAST = 1000, 2**31 - 2
_END_TIMEOUT = 2.0  # seconds for processes to vanish that were killed
_END_INTERVAL = 0.005


class NoUser(Exception):
    """No engine can have a user of its own now; says why."""


@dataclass(frozen=True, slots=True)
class Lent:
    """A user that somebody has until it is given back."""

    uid: int
    lock: int


def parse_range(said: str) -> range | None:
    """The numbers of a setting (`auto`, `off` or FIRST-LAST), None for none.  Raises ValueError."""
    if said == AUTOMATIC:
        return USUAL
    if said == OFF:
        return None
    first, dash, last = said.partition("-")
    if not (dash and first.isascii() and last.isascii() and first.isdigit() and last.isdigit()):
        raise ValueError(f"write it as FIRST-LAST, as in {USUAL[0]}-{USUAL[-1]}, auto or off")
    if not _FIRST <= int(first) <= int(last) <= _LAST:
        raise ValueError(f"the first must not be above the last, both from {_FIRST} to {_LAST}")
    return range(int(first), int(last) + 1)


def _held() -> int:
    """The capabilities of this process, as bits."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text("utf-8", "replace").splitlines():
            if line.startswith("CapEff:"):
                return int(line.split()[1], 16)
    return 0


class EngineUsers:
    """Lends the numbers of one range.  Its methods look at files and /proc, and may be called in
    any thread.
    """

    def __init__(self, said: str, folder: Path) -> None:
        """`said` is the setting, `folder` where numbers are held if they cannot be in /run."""
        self._range = parse_range(said)
        self._asked_for = said not in (AUTOMATIC, OFF)
        self._folder = folder
        self._next = 0
        self._turn = threading.Lock()
        held = _held()
        absent = [(name, lost) for bit, (name, lost) in _WANTED.items() if not held >> bit & 1]
        self.lacks = [f"without {name} {lost}" for name, lost in absent]
        """What is worse for engines with users of their own than for the daemon's, in words."""
        missing = [name for bit, name in _NEEDED.items() if not held >> bit & 1]
        if not self._asked_for:
            missing += [name for name, _ in absent]
        self.problem = self._problem(missing)
        """Why no engine can have a user of its own, "" where one can."""

    @property
    def usable(self) -> bool:
        """Whether engines get users of their own, as far as the daemon's rights tell."""
        return self._range is not None and not self.problem

    @property
    def on_devices(self) -> bool:
        """Whether engines that compute on GPUs get users, too: only where an owner says so, since
        what a driver does for other users than root is different on each host.
        """
        return self.usable and self._asked_for

    @property
    def words(self) -> str:
        """As whom engines run, for people."""
        if self._range is None:
            return "engines run as the daemon's user"
        if self.problem:
            return f"engines run as the daemon's user: {self.problem}"
        which = "each engine" if self._asked_for else "each engine on the CPU"
        return f"{which} runs as a user of its own ({self._range[0]} to {self._range[-1]})"

    @property
    def complaint(self) -> str:
        """What to tell an owner who has asked for users that cannot be had."""
        told = self._asked_for and self.problem
        return f"engines run as the daemon's user ({self.problem})" if told else ""

    def owns(self, uid: int) -> bool:
        """Whether a number is one of an engine's."""
        return self._range is not None and uid in self._range

    def _problem(self, missing: list[str]) -> str:
        if self._range is None:
            return ""
        if missing and not self._asked_for and os.geteuid() != 0:
            return "the daemon is not root"  # of whom no list of rights is expected
        if missing:
            return f"the daemon has not {', '.join(missing)}"
        if {os.getuid(), os.geteuid()} & set(self._range):
            return "the daemon's own user is in the range of `engine_uids`"
        return ""

    def lend(self) -> Lent:
        """Lend a number that nobody has.  Raises NoUser."""
        assert self._range is not None
        with self._turn:
            taken = _accounts() | _lent_to_containers(self._range) | set(_running())
            start = self._next % len(self._range)
            # First those with nothing at all: what is not found may flee from being found.
            for in_use in (False, True):
                for uid in chain(self._range[start:], self._range[:start]):
                    if uid in taken or anybody(uid) is not in_use:
                        continue
                    if (lock := self._lock(uid)) is not None:
                        # Not again at once: something may still name it.
                        self._next = self._range.index(uid) + 1
                        return Lent(uid, lock)
        raise NoUser("all numbers of `engine_uids` are taken")

    def give_back(self, lent: Lent, before: Callable[[], None] | None = None) -> None:
        """End what still runs as this user, carry out `before`, and let others have the number."""
        ended = _end(lent.uid)
        if not ended:
            log.error(
                "processes of engine user %d did not end; no engine gets that uid again", lent.uid
            )
        if before is not None:
            before()
        if ended:
            os.close(lent.lock)

    def _lock(self, uid: int) -> int | None:
        """Hold a number, None where somebody else does.  Raises NoUser."""
        problem: OSError | None = None
        for folder in (_LOCKS, self._folder):
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
                descriptor = os.open(folder / str(uid), flags, 0o600)
            except OSError as error:
                problem = error
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
                return None
            return descriptor
        raise NoUser(f"numbers cannot be held: {problem}")


def _accounts() -> set[int]:
    """The numbers of this host's users and groups; those of directories elsewhere are not asked
    for, since a server that does not respond would keep every engine waiting.
    """
    return {
        int(fields[2]) for fields in _lines_of(_ACCOUNTS) if len(fields) > 2 and _number(fields[2])
    }


def _lent_to_containers(those: range) -> set[int]:
    """Which of these are an account's for its containers, whether one runs or not."""
    found: set[int] = set()
    for _, *said in _lines_of(_SUBORDINATE):
        if len(said) == 2 and all(map(_number, said)):
            first, size = map(int, said)
            end = min(those.stop, first + size)
            found.update(range(max(those.start, first), end))
    return found


def _lines_of(files: Iterable[str]) -> Iterator[list[str]]:
    """The fields of each line; a file that cannot be read has none."""
    for file in files:
        with contextlib.suppress(OSError):
            text = Path(file).read_text("utf-8", "replace")
            yield from (line.split(":") for line in text.splitlines())


def _number(word: str) -> bool:
    return word.isascii() and word.isdigit()


def _running() -> Iterator[int]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            yield from _uids(int(name))


def _uids(pid: int) -> list[int]:
    """The users of a process: real, effective, saved, and for files."""
    try:
        text = Path(f"/proc/{pid}/status").read_bytes()
    except OSError:  # gone meanwhile
        return []
    line = text.partition(b"\nUid:")[2].partition(b"\n")[0]
    # Its first thread may end before the others, and the process is one that has ended by its name.
    zombie = b"\nState:\tZ" in text and b"\nThreads:\t1\n" in text
    return [] if zombie else [int(word) for word in line.split()]


def _end(uid: int) -> bool:
    """Kill every process of a user, and wait until there is none; whether that has come about."""
    deadline = time.monotonic() + _END_TIMEOUT
    killed = False
    while anybody(uid):
        killed = killed or end_all(uid)
        if killed and uid not in _running():  # who cannot run any more waits for a parent
            break
        if time.monotonic() > deadline:
            return False
        time.sleep(_END_INTERVAL)
    return True
