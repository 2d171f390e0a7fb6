"""Reads the bytes of a GGUF file in order, within bounds, believing none of its lengths.

Through a window with `pread`: a mapped file that shrinks would kill the daemon.
"""

from __future__ import annotations

import os
import struct

from runnerd.errors import InvalidModelFile

_WINDOW_BYTES = 2**18

_U64 = struct.Struct("<Q")


class GGUFBytes:
    """One pass over one open file.  Everything raises errors.InvalidModelFile where it ends early.

    `size` is the file's, `name` is for the messages.
    """

    def __init__(self, descriptor: int, name: str) -> None:
        self.name = name
        self.size = os.fstat(descriptor).st_size
        self._descriptor = descriptor
        self._window = b""
        self._base = 0  # the window's place in the file
        self._at = 0  # the next byte, relative to the window

    @property
    def position(self) -> int:
        """Where the next byte is in the file."""
        return self._base + self._at

    def count(self, what: str, most: int, *, least_bytes: int) -> int:
        """Read how many of something follow, at least `least_bytes` each."""
        (count,) = _U64.unpack(self.take(8))
        if count > most:
            raise self.invalid(f"its header claims {count} {what}; at most {most} are accepted")
        if count * least_bytes > self.size:
            raise self.truncated(count * least_bytes)
        return int(count)

    def length(self, what: str) -> int:
        """Read how many bytes follow."""
        (length,) = _U64.unpack(self.take(8))
        if length > self.size:
            raise self.invalid(
                f"it claims that {what} has {length} bytes, more than the whole file"
            )
        return int(length)

    def string(self, longest: int, what: str) -> str:
        """Read a string with its length before it."""
        length = self.length(what)
        if length > longest:
            raise self.invalid(
                f"it claims that {what} has {length} bytes; at most {longest} are accepted"
            )
        return self.take(length).decode(errors="replace")

    def skip_strings(self, count: int) -> None:
        """Go past so many strings."""
        # The hot loop: a vocabulary has hundreds of thousands of entries.
        unpack = _U64.unpack_from
        left = iter(range(count))
        while True:
            window, at = self._window, self._at
            try:
                for _ in left:
                    at += 8 + unpack(window, at)[0]
            except (struct.error, OverflowError):  # the window ends before this length
                self._at = at
                self._refill(8)
                self._at += 8 + unpack(self._window, 0)[0]
            else:
                self._at = at
                return self.skip(0)

    def skip(self, length: int) -> None:
        """Go past so many bytes."""
        self._at += length
        if self._base + self._at > self.size:
            raise self.truncated(self._base + self._at)

    def take(self, length: int) -> bytes:
        """Read so many bytes."""
        if self._at + length > len(self._window):
            self._refill(length)
        start = self._at
        self._at = start + length
        return self._window[start : self._at]

    def peek(self, length: int) -> bytes:
        """Look at the first bytes of the file, however far it was read."""
        return os.pread(self._descriptor, length, 0)

    def _refill(self, length: int) -> None:
        """Move the window so that the next `length` bytes are in it."""
        place = self._base + self._at
        if place + length > self.size:
            raise self.truncated(place + length)
        self._window = os.pread(self._descriptor, max(length, _WINDOW_BYTES), place)
        self._base, self._at = place, 0
        if len(self._window) < length:  # the file shrank meanwhile
            raise self.truncated(place + length)

    # refusing

    def truncated(self, needed: int) -> InvalidModelFile:
        """The error for a file that would need so many bytes."""
        if needed > 2**60:
            return self.invalid("its header is damaged: a length in it is larger than any file")
        return self.invalid(
            f"it is truncated: it needs {needed} bytes and has {self.size}; fetch it again"
        )

    def invalid(self, reason: str) -> InvalidModelFile:
        """The error for a file that cannot be used."""
        return InvalidModelFile(f"{self.name} cannot be used: {reason}")
