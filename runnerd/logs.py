"""Where the daemon's log goes: to standard error, and to a rotated file of its own."""

from __future__ import annotations

import logging
import logging.handlers
import os
from io import TextIOWrapper
from pathlib import Path
from typing import ClassVar

from runnerd.regular import open_regular

log = logging.getLogger(__name__)

_FILE_BYTES = 8 * 2**20  # per file; two older ones are kept
_FORMAT = "%(asctime)s.%(msecs)03d %(levelname)s %(name)s: %(message)s"


def set_up(folder: Path, *, level: str) -> None:
    """Log to standard error (the journal) and to a rotated file that `runnerd logs` shows.

    Repeatable, with another level.  RUNNERD_DEBUG names loggers to be verbose, such as
    `runnerd.relay,runnerd.scheduler`.
    """
    console = logging.StreamHandler()
    if _is_journal(console.stream.fileno()):
        console.setFormatter(_JournalFormatter())
    handlers: list[logging.Handler] = [console]
    problem: OSError | None = None
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        handlers.append(_LogFile(folder / "runnerd.log"))
    except OSError as error:  # the daemon serves without
        problem = error
    logging.basicConfig(
        level=level.upper(),
        format=_FORMAT,
        datefmt="%Y-%m-%d %H:%M:%S",
        handlers=handlers,
        force=True,
    )
    if problem is not None:
        log.warning("no log file is kept: %s (%s)", problem.strerror, problem.filename)
    logging.raiseExceptions = False  # a full disk or a closed terminal must not stop the daemon
    for name in filter(None, os.environ.get("RUNNERD_DEBUG", "").split(",")):
        logging.getLogger(name.strip()).setLevel(logging.DEBUG)


class _LogFile(logging.handlers.RotatingFileHandler):
    """The rotated file; only ever a regular one of ours."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, maxBytes=_FILE_BYTES, backupCount=2, encoding="utf-8")

    def _open(self) -> TextIOWrapper:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        descriptor = open_regular(Path(self.baseFilename), flags, 0o640)
        return open(descriptor, "a", encoding=self.encoding)

    def doRollover(self) -> None:
        """Begin a new file; where the old one cannot be kept, without it."""
        try:
            super().doRollover()
        except OSError:
            self.stream = self._open()
            os.ftruncate(self.stream.fileno(), 0)


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
