"""Why changes of the database are not written at present, as it is told to people.

A change that the disk does not take is refused to whoever wanted it, and the file stays open: the
next one may fit.  Meanwhile the daemon's status has to say so, and as nobody may want to change
anything for a while, it has to be tried.
"""

from __future__ import annotations

import logging
from pathlib import Path

from runnerd.database import failures
from runnerd.durable import storage_error
from runnerd.errors import RunnerdError

log = logging.getLogger(__name__)

_TRIED_BYTES = 256 * 2**10  # of disk, before changes count as possible again


class Refusal:
    """What came of the latest change: `error` says why it was not written, None where it was."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.error: RunnerdError | None = None

    def note(self, error: RunnerdError | None) -> None:
        """A change was not written because of `error`, or was written."""
        before, self.error = self.error, error
        if error is None and before is not None:
            log.info("the database can be changed again")
        elif error is not None and (before is None or before.message != error.message):
            log.error("the database cannot be changed: %s", error.message)

    def disk_is_well(self) -> bool:
        """Whether the disk takes something beside the database; what it says else is noted."""
        try:
            failures.try_disk(self._path, _TRIED_BYTES)
        except OSError as error:
            self.note(storage_error(error, failures.WHAT))
            return False
        return True


def change_nothing(connection: failures.Connection) -> None:
    """Write what is there already, which goes all the way to the disk."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute(f"PRAGMA user_version = {int(version)}")
