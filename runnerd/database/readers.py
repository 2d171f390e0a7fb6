"""Connections for reading, kept open between reads: opening one takes longer than most reads.

None is shared: whoever reads takes one out and puts it back.  They lie idle outside of any
transaction, so they hold up no checkpoint.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from runnerd.database import opening

_MOST_IDLE = 4


class Readers:
    """Owns the connections that read the file at `path`, until `close`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._idle: list[tuple[tuple[int, int] | None, sqlite3.Connection]] = []
        self._closed = False

    @contextlib.contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A connection that cannot write, to the file that is there now.  Raises sqlite3.Error."""
        file, connection = self._take(opening.identity(self._path))
        sound = False
        try:
            yield connection
            sound = True
        finally:
            self._put_back(file, connection, sound=sound)

    def _take(
        self, file: tuple[int, int] | None
    ) -> tuple[tuple[int, int] | None, sqlite3.Connection]:
        while True:
            with self._lock:
                found = self._idle.pop() if self._idle else None
            if found is None:
                return file, opening.open_for_reading(self._path)
            if found[0] == file:
                return found
            found[1].close()  # of a file that another one has taken the place of

    def _put_back(
        self, file: tuple[int, int] | None, connection: sqlite3.Connection, *, sound: bool
    ) -> None:
        with self._lock:
            if sound and not self._closed and len(self._idle) < _MOST_IDLE:
                self._idle.append((file, connection))
                return
        connection.close()

    def close(self) -> None:
        """Close those that are idle, and others when they come back.  Idempotent."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()
