"""What an engine prints: a bounded tail in memory, and a bounded file on disk.

An engine blocks when nobody reads its pipe, so everything is read, always; what is bounded is what
is kept.  The tail holds the last 64 KiB for error messages.  The file takes at most 1,000 lines and
1 MiB a second and is rotated by size, so that an engine gone mad fills neither the disk nor the
loop's time.
"""

from __future__ import annotations

import logging
import os
import re
import time
from pathlib import Path
from typing import BinaryIO

from runnerd.regular import open_regular

log = logging.getLogger(__name__)

TAIL_BYTES = 64 * 2**10
_LINES_PER_SECOND = 1000
_BYTES_PER_SECOND = 2**20
_FILE_BYTES = 4 * 2**20  # and as much again in the one older file that is kept

# Terminal escape sequences, then every other control character except tab and line feed.
_UNPRINTABLE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Output:
    """Takes an engine's bytes.  `log_file` None keeps them in memory only.

    A log file that cannot be written is reported once and never stops the engine.
    """

    def __init__(self, log_file: Path | None = None, *, tail_bytes: int = TAIL_BYTES) -> None:
        self._tail = bytearray()
        self._tail_bytes = tail_bytes
        self._file = None if log_file is None else _RotatedFile(log_file)

    def feed(self, data: bytes) -> None:
        """Take what the engine printed; never raises."""
        self._tail += data
        if len(self._tail) > 2 * self._tail_bytes:  # trimmed seldom: a deletion moves the rest
            del self._tail[: -self._tail_bytes]
        if self._file is not None:
            self._file.write(data)

    def close(self) -> None:
        """Close the log file; the tail stays readable."""
        if self._file is not None:
            self._file.close()

    @property
    def tail(self) -> str:
        """The last bytes as text, without control characters."""
        text = bytes(self._tail[-self._tail_bytes :]).decode("utf-8", "replace")
        return _UNPRINTABLE.sub("", text)


class _RotatedFile:
    """A log file of bounded size that takes a bounded number of lines a second."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._size = 0
        self._second = 0
        self._lines = 0
        self._bytes = 0
        self._dropped = 0
        self._in_line = False
        self._open()

    def write(self, data: bytes) -> None:
        if self._file is None:
            return
        kept = self._stamped(self._admit(data))
        if not kept:
            return
        try:
            self._file.write(kept)
            self._size += len(kept)
            if self._size > _FILE_BYTES:
                self._rotate()
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _admit(self, data: bytes) -> bytes:
        """What of `data` may be written this second, after a note on what was dropped."""
        note = b""
        if (now := int(time.monotonic())) != self._second:
            if self._dropped:
                note = b"\n[runnerd: %d bytes of output left out]\n" % self._dropped
            self._second, self._lines, self._bytes, self._dropped = now, 0, 0, 0
        kept = data[: max(0, _BYTES_PER_SECOND - self._bytes)]
        lines = kept.count(b"\n")
        if self._lines + lines > _LINES_PER_SECOND:
            kept = _first_lines(kept, _LINES_PER_SECOND - self._lines)
            lines = _LINES_PER_SECOND - self._lines
        self._lines += lines
        self._bytes += len(kept)
        self._dropped += len(data) - len(kept)
        return note + kept

    def _stamped(self, data: bytes) -> bytes:
        """Each line with the time at which it came: the engine's own count from its start."""
        if not data:
            return b""
        now = time.time()
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
        stamp = b"%s.%03d " % (moment.encode(), int(now % 1 * 1000))
        ends, goes_on = data.endswith(b"\n"), self._in_line
        self._in_line = not ends
        lines = (data[:-1] if ends else data).replace(b"\n", b"\n" + stamp)
        return (b"" if goes_on else stamp) + lines + (b"\n" if ends else b"")

    def _open(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
            descriptor = open_regular(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            self._file = os.fdopen(descriptor, "ab", buffering=0)
            self._size = os.fstat(descriptor).st_size
        except OSError as error:
            self._give_up(error)

    def _rotate(self) -> None:
        self.close()
        os.replace(self._path, self._path.with_name(self._path.name + ".1"))
        self._open()

    def _give_up(self, error: OSError) -> None:
        self.close()
        log.warning("the engine log %s is not written any more: %s", self._path, error.strerror)


def _first_lines(data: bytes, count: int) -> bytes:
    end = 0
    for _ in range(count):
        end = data.index(b"\n", end) + 1
    return data[:end]
