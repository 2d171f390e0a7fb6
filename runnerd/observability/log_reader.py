"""The daemon's log and its engines', read as one, by time; also while no daemon runs.

Lines of the files begin with the time at which they were written; what has none (the rest of a
message with several lines) stays behind the line before it.  Methods block.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from runnerd.regular import open_regular

_TAIL = 256 * 2**10  # bytes of each file that are shown before following
_TIME = re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,6})?")
_STAMPED = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} ")

MOST_LINES = 100_000


class About(NamedTuple):
    """Whose lines are wanted: of runners by their names, and of the daemon those that have one of
    some words in them.
    """

    runners: Collection[str]
    words: Collection[bytes]


class LogReader:
    """Reads on in the daemon's log and, with `engines`, in theirs; `about` leaves the rest out."""

    def __init__(
        self, directory: Path, *, engines: bool = True, about: About | None = None
    ) -> None:
        self._directory = directory
        self._engines = engines
        self._about = about
        self._tails: dict[Path, _Tail] = {}

    def exists(self) -> bool:
        """Whether there is a log at all."""
        return (self._directory / "runnerd.log").exists()

    def read(self, lines: int | None = None) -> bytes:
        """What is new, by time; the newest `lines` of it."""
        files = [self._directory / "runnerd.log"]
        if self._engines:
            files += sorted((self._directory / "engines").glob("*.log"))
        for file in files:
            if file not in self._tails and self._wants(file):
                self._tails[file] = _Tail(file, self._words(file))
        found = _merged(self._tails.values())
        return b"".join(found if lines is None else found[max(0, len(found) - lines) :])

    def _is_engines(self, file: Path) -> bool:
        return file.parent != self._directory

    def _wants(self, file: Path) -> bool:
        return self._about is None or not self._is_engines(file) or file.stem in self._about.runners

    def _words(self, file: Path) -> Collection[bytes] | None:
        return None if self._about is None or self._is_engines(file) else self._about.words


class _Line(NamedTuple):
    time: bytes
    number: int
    text: bytes


class _Tail:
    """Reads on at the end of a file that grows and is rotated."""

    def __init__(self, file: Path, words: Collection[bytes] | None) -> None:
        self._file = file
        self._words = words
        self._inode = 0
        self._offset = -1
        self._time = b""
        self._shown = words is None  # whether the line before was
        self._says = b"" if file.parent.name != "engines" else b"engine %s: " % file.stem.encode()

    def lines(self) -> Iterable[tuple[bytes, bytes]]:
        """The lines that are new since the last call, with their times."""
        for line in self._read().splitlines(keepends=True):
            if (found := _TIME.search(line[:40])) is not None:
                self._time = found[0].replace(b"T", b" ").replace(b",", b".")
                if self._words is not None:
                    self._shown = any(word in line for word in self._words)
            if not self._shown:
                continue
            if self._says and (stamp := _STAMPED.match(line)) is not None:
                line = stamp[0] + self._says + line[stamp.end() :]
            yield self._time, line

    def _read(self) -> bytes:
        """The complete lines that are new."""
        try:
            with open(open_regular(self._file), "rb") as file:
                inode = self._inode
                size = file.seek(0, 2)
                self._inode = os.fstat(file.fileno()).st_ino
                begins = self._offset < 0 and size > _TAIL
                if self._offset < 0:
                    self._offset = max(0, size - _TAIL)
                elif inode != self._inode or size < self._offset:
                    self._offset = 0
                file.seek(self._offset)
                data = file.read(_TAIL)
        except OSError:
            return b""
        complete = data[: data.rfind(b"\n") + 1]
        self._offset += len(complete)
        return complete.partition(b"\n")[2] if begins else complete


def _merged(tails: Iterable[_Tail]) -> list[bytes]:
    """The new lines of all files."""
    found: list[_Line] = []
    for tail in tails:
        for time, text in tail.lines():
            found.append(_Line(time, len(found), text))
    return [line.text for line in sorted(found)]
