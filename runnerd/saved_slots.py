"""What engines had evaluated, on disk, so that a model that goes need not forget.

An *entry* is what one runner held in its slots when it ended: files that the engine wrote, and a
line about them (`<stamp>.json`), written last and renamed.  Files without a line are what a crash
has left, and go when the folder is opened.  A line carries each file's size and checksum, since an
engine that reads half a file aborts.  Nothing is synced: most entries are replaced before the disk
has seen them, and after a power cut the checksum tells.

The files hold people's conversations.  They are private to the daemon's user, an entry is only
given to a client that had used the runner it comes from, and the oldest go when the quota is
reached, or when their model is deleted.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
import shutil
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from runnerd import threads
from runnerd.deep_removal import remove_folder
from runnerd.regular import open_regular, read_json, set_aside
from runnerd.threads import Stop

log = logging.getLogger(__name__)

_FREE = 1 * 2**30  # bytes of the disk that are left to others,
_FREE_PART = 20  # and on a small one the twentieth part of it
_PIECE = 1 * 2**20
_LINE_BYTES = 2**20
_OURS = re.compile(r"\d{20}-\d{4,}(\.\d+\.slot|\.json|\.new)")
_ENGINES = re.compile(r"[0-9a-f]{8}\.run")  # an engine's own folder, left by a crash
_ENTRIES = 8  # per fingerprint: more than anybody comes back to


@dataclass(frozen=True, slots=True)
class SavedFile:
    """One slot.  `checksum` is a CRC-32."""

    name: str
    bytes: int
    checksum: int


@dataclass(frozen=True, slots=True)
class Entry:
    """The slots of one runner; `clients` is everybody who had used it."""

    stamp: str
    fingerprint: str
    model: str
    clients: frozenset[str]
    files: tuple[SavedFile, ...]

    @property
    def names(self) -> list[str]:
        """The files' names inside the folder."""
        return [file.name for file in self.files]

    @property
    def of_session(self) -> bool:
        """Whether it is one session's alone."""
        return any(client.startswith("session ") for client in self.clients)

    @property
    def size(self) -> int:
        """How many bytes it takes."""
        return sum(file.bytes for file in self.files)


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry in the making: what it will be called, and names for its files."""

    stamp: str
    fingerprint: str
    model: str
    clients: frozenset[str]
    names: list[str] = field(default_factory=list)


class SavedSlots:
    """Owns the folder.  A `quota_bytes` of 0 keeps nothing and removes what is there."""

    def __init__(self, folder: Path, quota_bytes: int) -> None:
        self.folder = folder
        self._quota = quota_bytes
        self._entries: dict[str, Entry] = {}  # the oldest first
        self._taken: set[str] = set()
        self._numbers = itertools.count()

    def open(self) -> None:
        """Read the lines and remove what belongs to none; blocks.  Nothing here is worth an error:
        what cannot be read goes, and without a folder nothing is kept.
        """
        try:
            self._make_folder()
            self._read_lines()
        except OSError as error:
            log.warning(
                "evaluated conversations are not saved until the next start: %s (%s)",
                error.strerror,
                error.filename,
            )
            self._quota = 0
            self._entries.clear()

    def _make_folder(self) -> None:
        folder = self.folder
        if os.path.lexists(folder) and not folder.is_dir():
            log.warning("%s is no folder and was moved to %s", folder, set_aside(folder))
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not folder.is_symlink() and folder.stat().st_mode & 0o077:
            folder.chmod(0o700)

    def _read_lines(self) -> None:
        for path in sorted(self.folder.glob("*.json")):
            try:
                entry = read_json(path, Entry, most=_LINE_BYTES)
            except OSError as error:
                log.warning(
                    "saved slots of which %s should tell are removed: %s", path.name, error.strerror
                )
                continue
            if entry.stamp == path.stem and all(Path(name).name == name for name in entry.names):
                self._entries[entry.stamp] = entry
        for gone in self._superfluous():
            del self._entries[gone.stamp]
        kept = {f"{stamp}.json" for stamp in self._entries}
        kept |= {name for entry in self._entries.values() for name in entry.names}
        for path in list(self.folder.iterdir()):
            if _ENGINES.fullmatch(path.name) and not path.is_symlink():
                remove_folder(path)
        # By their names only: somebody may have put other things here, or a link to elsewhere.
        _unlink(
            path
            for path in list(self.folder.iterdir())
            if path.name not in kept and _OURS.fullmatch(path.name)
        )

    @property
    def enabled(self) -> bool:
        """Whether anything is kept at all."""
        return self._quota > 0

    def room(self) -> int:
        """Return how many bytes may be written now; what is old will make way for them."""
        disk = shutil.disk_usage(self.folder)
        free = disk.free - min(_FREE, disk.total // _FREE_PART)
        return max(0, min(self._quota, free))

    # reading

    def find(self, fingerprint: str, clients: Iterable[str]) -> Entry | None:
        """Return the newest entry that one of `clients` may have and nobody has taken."""
        wanted = frozenset(clients)
        for entry in reversed(self._entries.values()):
            if (
                entry.fingerprint == fingerprint
                and entry.stamp not in self._taken
                and entry.clients & wanted
            ):
                return entry
        return None

    def take(self, fingerprint: str, clients: Iterable[str]) -> Entry | None:
        """Find an entry and keep others from taking it; `give_back` or `remove` it afterwards."""
        entry = self.find(fingerprint, clients)
        if entry is not None:
            self._taken.add(entry.stamp)
        return entry

    def give_back(self, entry: Entry) -> None:
        """The runner that had taken an entry has ended and kept nothing newer."""
        self._taken.discard(entry.stamp)

    async def intact(self, entry: Entry) -> bool:
        """Return whether its files are what was written."""
        return await threads.run_stoppable(lambda stop: self._intact(entry, stop))

    def _intact(self, entry: Entry, stop: Stop) -> bool:
        try:
            return all(self._examine(file.name, stop) == file for file in entry.files)
        except OSError:
            return False

    async def remove(self, entry: Entry) -> None:
        """Drop an entry: it is of no use, or there is a newer one."""
        self._taken.discard(entry.stamp)
        self._entries.pop(entry.stamp, None)
        await self._unlink([f"{entry.stamp}.json", *entry.names])

    async def forget(self, wanted: Callable[[Entry], bool]) -> None:
        """Drop the entries that are wanted gone: of a model that was deleted, of a session."""
        for entry in [entry for entry in self._entries.values() if wanted(entry)]:
            await self.remove(entry)

    # writing

    def draft(self, fingerprint: str, model: str, clients: Iterable[str], files: int) -> Draft:
        """Return names for an entry of up to so many files; `keep` or `discard` it."""
        stamp = f"{time.time_ns():020}-{next(self._numbers):04}"
        names = [f"{stamp}.{number}.slot" for number in range(files)]
        return Draft(stamp, fingerprint, model, frozenset(clients), names)

    async def keep(self, draft: Draft, names: Sequence[str]) -> Entry:
        """Make an entry of the files that an engine has written.  Raises OSError."""
        entry = await threads.run_stoppable(
            lambda stop: self._keep(draft, names, stop),
            undo=lambda entry: (self.folder / f"{entry.stamp}.json").unlink(),
        )
        self._entries[entry.stamp] = entry
        for gone in self._superfluous():
            await self.remove(gone)
        return entry

    async def discard(self, draft: Draft) -> None:
        """Remove what was written of an entry that will not be."""
        await self._unlink([f"{draft.stamp}.new", *draft.names])

    def _keep(self, draft: Draft, names: Sequence[str], stop: Stop) -> Entry:
        entry = Entry(
            draft.stamp,
            draft.fingerprint,
            draft.model,
            draft.clients,
            tuple(self._examine(name, stop) for name in names),
        )
        line = self.folder / f"{draft.stamp}.json"
        beside = line.with_suffix(".new")
        descriptor = open_regular(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(msgspec.json.encode(entry))
        beside.rename(line)
        return entry

    def _examine(self, name: str, stop: Stop) -> SavedFile:
        size = checksum = 0
        with open(open_regular(self.folder / name), "rb") as file:
            os.fchmod(file.fileno(), 0o600)
            while piece := file.read(_PIECE):
                stop.check()
                size += len(piece)
                checksum = zlib.crc32(piece, checksum)
        return SavedFile(name, size, checksum)

    def _superfluous(self) -> list[Entry]:
        """What has to go: what is too much of one kind, and the oldest beyond the quota."""
        gone: list[Entry] = []
        left, same = self._quota, dict[str, int]()
        for entry in reversed(self._entries.values()):
            if not entry.of_session:  # of which there are many, and none instead of another
                same[entry.fingerprint] = same.get(entry.fingerprint, 0) + 1
            if entry.size > left or same.get(entry.fingerprint, 0) > _ENTRIES:
                gone.append(entry)
            else:
                left -= entry.size
        return gone

    async def _unlink(self, names: Sequence[str]) -> None:
        """Remove files, the line first, however often we are cancelled."""
        paths = [self.folder / name for name in names]
        await threads.run_to_end(_unlink, paths)


def _unlink(paths: Iterable[Path]) -> None:
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("saved slots cannot be removed: %s", error)
