"""Lines of the log: as text, as JSON, and as the journal takes them.

A line may say what it is about in `extra=`: `request_id`, `runner`, `model`, `trace_id`.  As text
the request's id follows the message; JSON and the journal have each as a field of its own.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import socket
from typing import ClassVar

FIELDS = ("request_id", "runner", "model", "trace_id")
JOURNAL = "/run/systemd/journal/socket"

_TEXT = "%(asctime)s.%(msecs)03d %(levelname)s %(name)s: %(message)s"
_LONGEST = 64 * 2**10  # bytes of a message in the journal
_PRIORITIES = {"CRITICAL": 2, "ERROR": 3, "WARNING": 4, "INFO": 6, "DEBUG": 7}


class TextFormatter(logging.Formatter):
    """The time, the level, who says it, what, and for which request."""

    def __init__(self, format: str = _TEXT) -> None:
        super().__init__(format, "%Y-%m-%d %H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        id = getattr(record, "request_id", None)
        return f"{line} [{id}]" if id else line


class JsonFormatter(logging.Formatter):
    """One object per line; times are UTC."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line: dict[str, object] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class PrefixFormatter(logging.Formatter):
    """Leaves the time to the journal and gives it the level in its own way (sd-daemon(3))."""

    def __init__(self) -> None:
        super().__init__("%(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_PRIORITIES.get(record.levelname, 6)}>"
        return "\n".join(prefix + line for line in super().format(record).splitlines())


class JournalHandler(logging.Handler):
    """Sends each line to the journal as one entry with fields of its own.

    What the journal does not take at once, or not at all, goes to `otherwise`.
    """

    _IDENTIFIER: ClassVar = b"SYSLOG_IDENTIFIER=runnerd\n"

    def __init__(self, path: str, otherwise: logging.Handler) -> None:
        """Raises OSError where there is no journal."""
        super().__init__()
        self._otherwise = otherwise
        self.setFormatter(logging.Formatter("%(message)s"))
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            self._socket.setblocking(False)
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._socket.send(self._entry(record))
        except OSError:
            self._otherwise.handle(record)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.close()
        super().close()

    def _entry(self, record: logging.LogRecord) -> bytes:
        priority = _PRIORITIES.get(record.levelname, 6)
        message = self.format(record).encode("utf-8", "replace")[:_LONGEST]
        entry = self._IDENTIFIER + b"PRIORITY=%d\n" % priority
        entry += _field("MESSAGE", message) + _field("LOGGER", record.name.encode())
        for name, value in fields_of(record).items():
            entry += _field(f"RUNNERD_{name.upper()}", value.encode("utf-8", "replace")[:1000])
        return entry


def _field(name: str, value: bytes) -> bytes:
    """A field whose value may have any bytes: its length goes first."""
    return b"%s\n%s%s\n" % (name.encode(), len(value).to_bytes(8, "little"), value)


def fields_of(record: logging.LogRecord) -> dict[str, str]:
    """What a line of the log is about: the request, runner, model and so on that it names."""
    return {name: str(value) for name in FIELDS if (value := getattr(record, name, None))}
