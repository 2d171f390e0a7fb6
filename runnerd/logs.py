"""Where the daemon's log goes: to standard error, and to a rotated file of its own."""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
from io import TextIOWrapper
from pathlib import Path
from typing import ClassVar

from runnerd.log_formats import (
    JOURNAL,
    JournalHandler,
    JsonFormatter,
    PrefixFormatter,
    TextFormatter,
)
from runnerd.regular import open_regular

log = logging.getLogger(__name__)

ANSWER = {"is_written": True}
"""For `extra=` of a line that answers somebody, as to a signal: it is written each time."""

MAY_REPEAT = {"may_repeat": True}
"""For `extra=` of a line that strangers can bring about as often as they like."""

_FILE_BYTES = 8 * 2**20  # per file; two older ones are kept


def set_up(folder: Path, *, level: str, as_json: bool = False) -> None:
    """Log to standard error (the journal), there perhaps `as_json`, and to a rotated file that
    `runnerd logs` shows.

    Repeatable, with another level.  RUNNERD_DEBUG names loggers to be verbose, such as
    `runnerd.relay,runnerd.scheduler`.
    """
    handlers: list[logging.Handler] = [_console(as_json=as_json)]
    problem: OSError | None = None
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        handlers.append(_LogFile(folder / "runnerd.log"))
    except OSError as error:  # the daemon serves without
        problem = error
    repeats = Repeats()
    for handler in handlers:
        handler.addFilter(repeats)
        if handler.formatter is None:
            handler.setFormatter(TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=handlers, force=True)
    if problem is not None:
        log.warning("no log file is kept: %s (%s)", problem.strerror, problem.filename)
    logging.raiseExceptions = False  # a full disk or a closed terminal must not stop the daemon
    for name in filter(None, os.environ.get("RUNNERD_DEBUG", "").split(",")):
        logging.getLogger(name.strip()).setLevel(logging.DEBUG)


def _console(*, as_json: bool) -> logging.Handler:
    """Standard error, or the journal itself where that is what it is."""
    console = logging.StreamHandler()
    if as_json:
        console.setFormatter(JsonFormatter())
    elif _is_journal(console.stream.fileno()):
        console.setFormatter(PrefixFormatter())
        with contextlib.suppress(OSError):
            return JournalHandler(JOURNAL, console)
    return console


class Repeats(logging.Filter):
    """Writes a warning or an error that repeats once, and then how often it did; so it does with
    other lines that say that they may (`MAY_REPEAT`).

    What fails thousands of times a second must not push everything else out of the log.  The count
    follows `WINDOW` seconds after the line, with whatever is logged next.
    """

    WINDOW: ClassVar = 10.0
    _KEPT: ClassVar = 64  # different lines

    def __init__(self) -> None:
        super().__init__()
        self._lines: dict[tuple[str, str], tuple[logging.LogRecord, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        decided: bool | None = getattr(record, "is_written", None)
        if decided is None:  # the first of the handlers that share this
            self._tell(record.created)
            decided = record.is_written = self._is_new(record)
        return decided

    def _is_new(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING and not getattr(record, "may_repeat", False):
            return True
        error = record.exc_info[1] if record.exc_info else None
        line = record.name, f"{record.getMessage()} {error!r}"
        if line in self._lines:
            first, more = self._lines[line]
            self._lines[line] = first, more + 1
            return False
        if len(self._lines) >= self._KEPT:
            self._count(*self._lines.pop(next(iter(self._lines))))
        self._lines[line] = record, 0
        return True

    def _tell(self, now: float) -> None:
        """Write the counts of the lines that are old enough; these may be written again then."""
        while self._lines:
            line = next(iter(self._lines))
            first, more = self._lines[line]
            if now - first.created < self.WINDOW:
                return
            del self._lines[line]
            self._count(first, more)

    def _count(self, first: logging.LogRecord, more: int) -> None:
        if more:
            text = f"{first.getMessage()} ({more} times more within {self.WINDOW:g} s)"
            count = logging.makeLogRecord({
                "name": first.name, "levelno": first.levelno, "levelname": first.levelname,
                "msg": text, "is_written": True,
            })  # fmt: skip
            logging.getLogger(first.name).handle(count)


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


def _is_journal(descriptor: int) -> bool:
    """Return whether a descriptor is the one that systemd connected to the journal."""
    status = os.fstat(descriptor)
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
