"""Where the daemon's log goes: to standard error, and to a rotated file of its own."""

from __future__ import annotations

import logging
import logging.handlers
import os
from pathlib import Path
from typing import ClassVar

_FILE_BYTES = 8 * 2**20  # per file; two older ones are kept
_FORMAT = "%(asctime)s.%(msecs)03d %(levelname)s %(name)s: %(message)s"


def set_up(folder: Path, *, level: str) -> None:
    """Log to standard error (the journal) and to a rotated file that `runnerd logs` shows.

    Repeatable, with another level.  RUNNERD_DEBUG names loggers to be verbose, such as
    `runnerd.relay,runnerd.scheduler`.
    """
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    file = logging.handlers.RotatingFileHandler(
        folder / "runnerd.log", maxBytes=_FILE_BYTES, backupCount=2, encoding="utf-8"
    )
    console = logging.StreamHandler()
    if _is_journal(console.stream.fileno()):
        console.setFormatter(_JournalFormatter())
    logging.basicConfig(
        level=level.upper(),
        format=_FORMAT,
        datefmt="%Y-%m-%d %H:%M:%S",
        handlers=[console, file],
        force=True,
    )
    logging.raiseExceptions = False  # a full disk or a closed terminal must not stop the daemon
    for name in filter(None, os.environ.get("RUNNERD_DEBUG", "").split(",")):
        logging.getLogger(name.strip()).setLevel(logging.DEBUG)


class _JournalFormatter(logging.Formatter):
    """Leaves the time to the journal and gives it the level in its own way (sd-daemon(3))."""

    _PRIORITIES: ClassVar = {"CRITICAL": 2, "ERROR": 3, "WARNING": 4, "INFO": 6, "DEBUG": 7}

    def __init__(self) -> None:
        super().__init__("%(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{self._PRIORITIES.get(record.levelname, 6)}>"
        return "\n".join(prefix + line for line in super().format(record).splitlines())


def _is_journal(descriptor: int) -> bool:
    """Return whether a descriptor is the one that systemd connected to the journal."""
    status = os.fstat(descriptor)
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
